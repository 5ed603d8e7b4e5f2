"""The invertible step from an image's own pixels to the network's input, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatImage = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """Letterbox: the image keeps its aspect ratio and is centred on a black network input.

    Attributes:
        original: (height, width) of the image on disk, px.
        network: (height, width) of the network's input, px.
    """

    original: tuple[int, int]
    network: tuple[int, int]

    @property
    def inner(self) -> tuple[int, int, int, int]:
        """Where the image lies in the network's input: (top, left, height, width), px."""
        (H, W), (h, w) = self.original, self.network
        scale = min(h / H, w / W)
        height, width = max(1, round(H * scale)), max(1, round(W * scale))
        return (h - height) // 2, (w - width) // 2, height, width

    def to_network(self, pixels: FloatImage) -> FloatImage:
        """Resizes `pixels` [H', W'] (the image at any resolution), antialiased; pads with 0."""
        top, left, height, width = self.inner
        out = np.zeros(self.network, np.float32)
        out[top : top + height, left : left + width] = resize(pixels, (height, width))
        return out

    def mask_to_network(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Resizes a mask [H', W'] by area; a pixel covered by half or more is foreground."""
        return self.to_network(mask.astype(np.float32)) >= 0.5

    def to_original(self, values: FloatImage, size: tuple[int, int] | None = None) -> FloatImage:
        """Maps `values` [h, w] of network size back to the image's (or to `size`), bilinear."""
        top, left, height, width = self.inner
        return resize(values[top : top + height, left : left + width], size or self.original)


def resize(pixels: FloatImage, size: tuple[int, int]) -> FloatImage:
    """Bilinear resampling of [H, W] to `size`, pixel areas aligned, antialiased when shrinking."""
    if pixels.shape == tuple(size):
        return np.asarray(pixels, np.float32)
    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask [H, W] at `size`: pixels that it covers by half or more; itself at its own size."""
    if mask.shape == tuple(size):
        return mask
    covered: NDArray[np.bool_] = resize(mask.astype(np.float32), size) >= 0.5
    return covered
