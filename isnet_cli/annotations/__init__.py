"""Findings that people drew into images: boxes, masks and outlines, by the images' names."""
