"""Keys that say how images are read and masked: what a model's card tells those without its run."""

READING = {
    "data": ("view", "scale", "max_side", "dicom"),
    "masks": ("model", "threshold", "postprocess"),
}
