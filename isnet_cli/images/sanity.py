"""Why something that could be read is still no usable image; uncertain cases pass."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.types import XRay

MIN_SIDE = 64  # px; smaller images do not show the lungs
MAX_ASPECT = 4.0  # longer side by shorter side; chest images stay below 2
MAX_SATURATED = 0.97  # share of pixels that are exactly black or exactly white
MAX_COLOUR_SPREAD = 0.06  # of [0, 1]; grey images with coloured marks stay far below


def check_sanity(
    image: XRay, view: Literal["frontal", "any"] = "frontal"
) -> UnreadableImage | None:
    """The reason why `image` cannot serve as a chest image, or None.

    Args:
        image: An image in the normal form.
        view: ``frontal`` refuses images that are known to be lateral; unknown views pass.

    Returns:
        A fault to be recorded (not raised here): ``too_small``, ``aspect``, ``constant``,
        ``saturated`` or ``lateral``.
    """
    height, width = image.pixels.shape
    if min(height, width) < MIN_SIDE:
        return UnreadableImage(
            "too_small", f"{width} x {height} pixels, expected a shorter side of {MIN_SIDE} or more"
        )
    if max(height, width) > MAX_ASPECT * min(height, width):
        return UnreadableImage(
            "aspect", f"{width} x {height} pixels, expected sides of at most 1 to {MAX_ASPECT:g}"
        )
    if float(image.pixels.max()) == float(image.pixels.min()):
        return UnreadableImage("constant", "all pixels are equal, expected an X-ray")
    ends = np.count_nonzero((image.pixels == 0.0) | (image.pixels == 1.0)) / image.pixels.size
    if ends > MAX_SATURATED:
        return UnreadableImage(
            "saturated", f"{ends:.1%} of the pixels are pure black or white, expected an X-ray"
        )
    if view == "frontal" and image.view == "lateral":
        return UnreadableImage("lateral", "a lateral image, expected frontal (data.view: frontal)")
    return None


def check_colour(rgb: NDArray[Any]) -> UnreadableImage | None:
    """``colour`` when [H, W, 3] is clearly a colour picture, else None.

    Measured is the spread of the pixels' colours around one line in RGB space (root of the two
    lesser eigenvalues of the colours' covariance). A grey image, an evenly tinted scan and an image
    with a few coloured marks lie on such a line; a photograph or a false-colour map does not.
    """
    spread = measure_colour_spread(rgb)
    if spread <= MAX_COLOUR_SPREAD:
        return None
    return UnreadableImage(
        "colour", f"a colour picture (colour spread {spread:.2f}), expected grey"
    )


def measure_colour_spread(rgb: NDArray[Any]) -> float:
    """Standard deviation of colours [H, W, 3] across their main line in RGB space.

    Args:
        rgb: Integers up to their type's maximum, or floats in [0, 1]; large pictures are sampled.
    """
    step = max(1, int(np.sqrt(rgb.shape[0] * rgb.shape[1] / 250_000)))
    colours = rgb[::step, ::step].reshape(-1, 3).astype(np.float64) / _find_white(rgb)
    centred = colours - colours.mean(axis=0)
    eigenvalues = np.linalg.eigvalsh(centred.T @ centred / len(centred))
    return float(np.sqrt(max(0.0, float(eigenvalues[:2].sum()))))


def luma(rgb: NDArray[Any]) -> NDArray[np.float32]:
    """Grey of [..., 3] as float32 in [0, 1] (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B).

    Written as G + 0.299 (R - G) + 0.114 (B - G), so that a grey pixel keeps its value exactly.
    """
    green = rgb[..., 1].astype(np.float32)
    grey = rgb[..., 0].astype(np.float32)
    blue = rgb[..., 2].astype(np.float32)
    grey -= green
    grey *= np.float32(0.299)
    blue -= green
    blue *= np.float32(0.114)
    grey += blue
    grey += green
    grey /= np.float32(_find_white(rgb))
    return np.clip(grey, 0.0, 1.0, out=grey)


def _find_white(values: NDArray[Any]) -> float:
    return float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else 1.0
