"""Training of the lung U-Net."""
