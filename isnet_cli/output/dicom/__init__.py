"""DICOM outputs about an image: overlays, the image itself, segmentations."""
