"""isnet: chest X-ray classifiers that look at the lungs, from a folder of images to a proof."""

__version__ = "0.2.0.dev0"
