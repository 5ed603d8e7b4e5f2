"""An image with two spots of relevance and a box for lungs, and a test of colours."""

import numpy as np


def scene(height: int = 120, width: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grey image, one positive and one negative spot, and a box for lungs."""
    image = np.full((height, width), 0.4, np.float32)
    relevance = np.zeros((height, width), np.float32)
    relevance[30:40, 30:40] = 2e-3
    relevance[70:80, 60:70] = -2e-3
    mask = np.zeros((height, width), bool)
    mask[20:100, 20:80] = True
    return image, relevance, mask


def close_to(picture: np.ndarray, colour: tuple[int, ...], tolerance: int = 40) -> np.ndarray:
    return (np.abs(picture.astype(int) - np.array(colour)) < tolerance).all(axis=-1)
