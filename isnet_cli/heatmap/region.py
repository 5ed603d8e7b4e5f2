"""The smallest region of a map that holds a given share of its positive values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def region_threshold(values: NDArray[np.float32], share: float) -> float:
    """The value from which on pixels belong to the region.

    Args:
        values: A map of any shape, finite; negative values do not count.
        share: Of the sum of positive values, above 0 to below 1.

    Returns:
        The largest threshold t with sum(values >= t) >= share · sum(values > 0); infinity where
        nothing is positive, so that the region is empty.
    """
    positive = np.sort(values[values > 0].astype(np.float64))[::-1]
    if not len(positive):
        return float("inf")
    reached = np.cumsum(positive) >= share * positive.sum()
    return float(positive[int(np.argmax(reached))])
