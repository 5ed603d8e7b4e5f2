"""The colours of relevance: blue against, red for, nothing at zero; even steps to the eye."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

LIMIT_PERCENTILE = 99.5
# Ends and middle in OKLCH (lightness, chroma, hue in degrees). Both ends have one lightness, so
# that sign is told by hue alone and magnitude by lightness; red and blue stay apart for people
# who do not see red or green as others do.
_MIDDLE_LIGHTNESS = 0.97
_END_LIGHTNESS = 0.60
_POSITIVE = (0.232, 27.0)
_NEGATIVE = (0.205, 258.0)
_STEPS = 256


def relevance_limit(relevance: FloatArray, percentile: float = LIMIT_PERCENTILE) -> float:
    """The value that gets the strongest colour: a percentile of the magnitudes.

    Args:
        relevance: Map of any shape, finite.
        percentile: 0 to 100; just below 100, a few bright pixels do not set the scale.

    Returns:
        A positive number; the maximum where the percentile is 0 (a sparse map), 1 for a zero map.
    """
    magnitude = np.abs(relevance)
    limit = float(np.percentile(magnitude, percentile)) if magnitude.size else 0.0
    return limit or float(magnitude.max(initial=0.0)) or 1.0


def smooth(values: FloatArray, sigma: float) -> FloatArray:
    """Gaussian smoothing of [H, W] with standard deviation `sigma` px, edges mirrored.

    For display only: sums are kept up to the borders, single pixels are not.
    """
    if sigma <= 0:
        return np.asarray(values, np.float32)
    from scipy.ndimage import gaussian_filter

    radius = max(1, round(3 * sigma))
    smoothed: FloatArray = gaussian_filter(
        np.asarray(values, np.float32), sigma, mode="reflect", radius=radius
    )
    return smoothed


def diverging_colours(scaled: FloatArray) -> FloatArray:
    """Colours of values in [-1, 1]: blue, white at 0, red.

    Args:
        scaled: Any shape; values beyond the range take the end colours.

    Returns:
        sRGB, float32, [..., 3], 0 to 1.
    """
    table = _table()
    position = (np.clip(scaled, -1.0, 1.0) + 1.0) * (len(table) - 1) / 2.0
    below = np.minimum(position.astype(np.intp), len(table) - 2)
    share = (position - below)[..., None].astype(np.float32)
    colour: FloatArray = table[below] * (1 - share) + table[below + 1] * share
    return colour


def blend(image: FloatArray, relevance: FloatArray, limit: float) -> FloatArray:
    """Relevance as colour over a grey image; the stronger the relevance, the less image shows.

    Args:
        image: [H, W], 0 to 1.
        relevance: [H, W], in the unit of `limit`.
        limit: Magnitude that gets the end colours, > 0.

    Returns:
        sRGB, float32, [H, W, 3], 0 to 1.
    """
    scaled = np.clip(relevance / np.float32(limit), -1.0, 1.0)
    grey = np.repeat(np.clip(image, 0.0, 1.0)[..., None], 3, axis=-1)
    opacity = compute_opacity(scaled)[..., None]
    # Faint relevance is tinted, not whitened: white haze on an image reads as a lung finding.
    tint = diverging_colours(np.sign(scaled) * np.maximum(np.abs(scaled), 0.6))
    return np.asarray(grey * (1 - opacity) + tint * opacity, np.float32)


def compute_opacity(scaled: FloatArray) -> FloatArray:
    """Opacity of the colour over the image: 0 at 0, 0.92 at the limit, steep in between."""
    return np.asarray(0.92 * np.abs(scaled) ** 0.75, np.float32)


def _table() -> FloatArray:
    magnitude = np.linspace(1.0, 0.0, _STEPS, endpoint=False)
    middle = _oklch(np.zeros(1), *_POSITIVE)
    return np.concatenate(
        [_oklch(magnitude, *_NEGATIVE), middle, _oklch(magnitude, *_POSITIVE)[::-1]]
    )


def _oklch(magnitude: NDArray[np.float64], chroma: float, hue: float) -> FloatArray:
    """Colours of one arm in sRGB: lightness and chroma go linearly with `magnitude` in [0, 1].

    Source: B. Ottosson, "A perceptual color space for image processing" (OKLab), 2020.
    """
    lightness = _MIDDLE_LIGHTNESS + (_END_LIGHTNESS - _MIDDLE_LIGHTNESS) * magnitude
    a = chroma * magnitude * np.cos(np.radians(hue))
    b = chroma * magnitude * np.sin(np.radians(hue))
    cone = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    linear = _CONE_TO_RGB @ cone**3
    linear = np.clip(linear, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(encoded.T, np.float32)


_CONE_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
