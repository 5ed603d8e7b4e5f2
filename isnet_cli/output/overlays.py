"""Images with their lungs outlined, and relevance in colour over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isnet_cli.output.colours import blend, relevance_limit, smooth

FloatImage = NDArray[np.float32]
Mask = NDArray[np.bool_]
RGB = NDArray[np.uint8]

OUTLINE = (255, 214, 10)  # yellow: apart from the blue and the red of relevance, and from grey
FINDING = (0, 226, 226)  # cyan: annotated findings; brighter than relevance's blue, no yellow


def grey(image: FloatImage) -> RGB:
    """An image [H, W] in [0, 1] as grey RGB, uint8 [H, W, 3]."""
    return np.repeat(levels(image)[..., None], 3, axis=-1)


def image_tile(image: FloatImage, mask: Mask | None = None, *, side: int = 192) -> RGB:
    """An image [H, W] with outlined lungs, its longest side `side` px: a contact sheet's tile."""
    height, width = image.shape
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = None if mask is None else scale_image(mask.astype(np.float32), size) >= 0.5
    return draw_outline(grey(scale_image(image, size)), small, width=1.5)


def draw_outline(
    picture: RGB,
    mask: Mask | None,
    *,
    width: float | None = None,
    colour: tuple[int, int, int] = OUTLINE,
) -> RGB:
    """`picture` [H, W, 3] with the border of `mask` [H, W] as a smooth line, yellow for lungs.

    Args:
        picture: Grey or coloured image.
        mask: Lungs true, or None for no line.
        width: Line width in px; default 1/220 of the shorter side (at least 1.5 px), so that the
            line survives when a large image is shown small.
        colour: Of the line.
    """
    if mask is None:
        return picture
    _same_shape(picture[..., 0], mask, "mask")
    line = width or max(1.5, min(mask.shape) / 220)
    soft = smooth(mask.astype(np.float32), max(0.8, 0.6 * line))
    slope = np.hypot(*np.gradient(soft)) if min(mask.shape) > 1 else np.zeros_like(soft)
    distance = np.abs(soft - 0.5) / np.maximum(slope, 1e-3)  # px, to first order
    cover = np.clip(line / 2 + 0.5 - distance, 0.0, 1.0)[..., None]
    cover *= (np.abs(soft - 0.5) < 0.48)[..., None]
    drawn = picture * (1 - cover) + np.asarray(colour, np.float32) * cover
    return levels(drawn / 255)


def draw_findings(picture: RGB, findings: Sequence[Mask]) -> RGB:
    """`picture` [H, W, 3] with the border of each finding [H, W] as a cyan line."""
    for finding in findings:
        picture = draw_outline(picture, finding, colour=FINDING)
    return picture


def overlay(
    image: FloatImage,
    relevance: FloatImage,
    mask: Mask | None,
    *,
    limit: float | None = None,
    smoothing: float = 0.0,
    findings: Sequence[Mask] = (),
) -> RGB:
    """Relevance in colour over the image, lungs outlined: red speaks for the class, blue against.

    Args:
        image: [H, W], 0 to 1.
        relevance: [H, W], the map on the image's pixels; 0 shows the bare image.
        mask: [H, W] lungs, or None.
        limit: Magnitude of the strongest colour; default the 99.5th percentile of |relevance|.
        smoothing: Standard deviation in px of a Gaussian, for display; 0 shows the raw map.
        findings: [H, W] each, outlined in cyan.

    Returns:
        uint8 RGB [H, W, 3].

    Raises:
        ValueError: When shapes differ or values are not finite.
    """
    check_arrays(image, relevance, mask)
    shown = smooth(relevance, smoothing)
    strongest = limit if limit is not None and limit > 0 else relevance_limit(shown)
    colours = blend(image, shown, strongest)
    return draw_findings(draw_outline(levels(colours), mask), findings)


def scale_image(values: FloatImage, size: tuple[int, int]) -> FloatImage:
    """Bilinear, antialiased when shrinking; `size` is (width, height)."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)


def levels(values: NDArray[np.floating]) -> RGB:
    """Values in [0, 1] as bytes; beyond the range they are cut."""
    return np.asarray(np.round(np.clip(values, 0.0, 1.0) * 255), np.uint8)


def check_arrays(image: FloatImage, relevance: FloatImage, mask: Mask | None) -> None:
    """Refuses arrays that do not belong together.

    Raises:
        ValueError: When shapes differ or values are not finite.
    """
    if image.ndim != 2:
        raise ValueError(f"image: shape {image.shape}, expected [H, W]")
    _same_shape(image, relevance, "relevance")
    if mask is not None:
        _same_shape(image, mask, "mask")
    if not np.isfinite(relevance).all():
        raise ValueError("relevance: holds NaN or infinite values")


def _same_shape(image: NDArray[np.generic], other: NDArray[np.generic], name: str) -> None:
    if image.shape != other.shape:
        raise ValueError(f"{name}: shape {other.shape}, expected the image's {image.shape}")
