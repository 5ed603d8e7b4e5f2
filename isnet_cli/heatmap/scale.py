"""What pictures show of a map, and its colour limit: of each map alone, or one for a set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isnet_cli.heatmap.explainers import Method
from isnet_cli.images.resize import Frame
from isnet_cli.output.colours import relevance_limit, smooth

SHARED_PERCENTILE = 95.0  # of the maps' own limits: one odd map does not make all others pale
SMOOTHING = 0.7  # px of the network's input: display only; takes the pixel noise off the picture

FloatImage = NDArray[np.float32]


def smoothing(method: Method) -> float:
    """Of the display, px of the network's input."""
    return SMOOTHING if method.smoothed else 0.0


def shown_part(values: FloatImage, frame: Frame, method: Method) -> FloatImage:
    """The part of a map [h, w] that shows the image, as pictures show it before smoothing."""
    top, left, height, width = frame.inner
    part = values[top : top + height, left : left + width]
    if method.above_even:
        part = np.maximum(part - part.mean(dtype=np.float64), 0.0)
    return np.asarray(part, np.float32)


def own_limit(values: FloatImage, frame: Frame, method: Method) -> float:
    """The colour limit that a map would take alone.

    For a method shown above an even map at least the even map's value, so that a map without
    preferences looks like one.

    Args:
        values: Map [h, w] at the network's size.
        frame: Where the image lies in it.
        method: How it was made.
    """
    limit = relevance_limit(smooth(shown_part(values, frame, method), smoothing(method)))
    if method.above_even:
        top, left, height, width = frame.inner
        limit = max(limit, float(values[top : top + height, left : left + width].mean()))
    return limit


def shared_limit(limits: Sequence[float]) -> float | None:
    """The limit for all maps of a set; None when there is none."""
    return float(np.percentile(limits, SHARED_PERCENTILE)) if limits else None
