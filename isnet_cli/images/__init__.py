"""X-rays as pixels: formats, reading, resizing, kept images, mask files, the manifest."""
