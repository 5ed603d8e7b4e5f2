"""isnet: chest X-ray classifiers that look at the lungs, from a folder of films to a proof."""

__version__ = "0.1.0"
