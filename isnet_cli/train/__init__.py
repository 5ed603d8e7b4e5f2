"""Stage `train`: from images, masks and labels to a classifier."""
