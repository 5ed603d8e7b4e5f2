"""How well one mask agrees with another: Dice, IoU, 95th-percentile surface distance; summaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
TAIL = 5  # percentile of a summary's lower end


@dataclass(frozen=True)
class MaskScore:
    """Agreement of a mask with the truth, over the union of both lungs.

    Attributes:
        dice: 2 |A and B| / (|A| + |B|), 0 to 1.
        iou: |A and B| / |A or B|, 0 to 1; equals dice / (2 - dice).
        distance95: 95th-percentile surface distance, in mm where the spacing is known, else in px;
            None when one of the masks is empty.
        unit: ``mm`` or ``px``.
    """

    dice: float
    iou: float
    distance95: float | None
    unit: str


def score_mask(mask: Mask, truth: Mask, spacing: tuple[float, float] | None = None) -> MaskScore:
    """Compares two masks of the same image.

    Args:
        mask: [H, W].
        truth: [H, W], not empty.
        spacing: (row, column) in mm, or None.

    Raises:
        ValueError: When sizes differ or `truth` is empty.
    """
    if mask.shape != truth.shape or not truth.any():
        raise ValueError(f"mask {mask.shape}, truth {truth.shape}: expected one size, not empty")
    both, either = int((mask & truth).sum()), int((mask | truth).sum())
    return MaskScore(
        dice=2 * both / (both + either),
        iou=both / either,
        distance95=surface_distance(mask, truth, spacing or (1.0, 1.0)) if mask.any() else None,
        unit="mm" if spacing else "px",
    )


def surface_distance(
    a: Mask, b: Mask, spacing: tuple[float, float], percentile: float = 95
) -> float:
    """Percentile of the distances between two outlines: the greater of the two directions.

    Distances go from each surface pixel (one with a neighbour above, below, left or right that is
    outside) to the nearest one of the other mask, centre to centre (HD95 of Maier-Hein et al.,
    Metrics reloaded, Nat Methods 2024;21:195-212, arXiv:2206.01653).

    Args:
        a: [H, W], not empty.
        b: [H, W], not empty.
        spacing: (row, column); the result has its unit.
        percentile: 0 to 100.
    """
    from scipy.spatial import cKDTree

    points = [np.argwhere(_surface(mask)) * np.asarray(spacing) for mask in (a, b)]
    ways = [cKDTree(points[other]).query(points[one])[0] for one, other in ((0, 1), (1, 0))]
    return float(max(np.percentile(way, percentile) for way in ways))


def _surface(mask: Mask) -> Mask:
    """Foreground pixels that touch the outside by one of their four sides."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def spread(values: Sequence[float], *, high_is_bad: bool = False) -> dict[str, float | int | None]:
    """Number, mean, sample standard deviation, and the bad end: 5th percentile and minimum.

    Args:
        values: Finite figures, one per image; may be empty.
        high_is_bad: For distances: 95th percentile and maximum instead.
    """
    tail, end = ("p95", "max") if high_is_bad else (f"p{TAIL}", "min")
    if not len(values):
        return {"images": 0, "mean": None, "sd": None, tail: None, end: None}
    found = np.asarray(values, np.float64)
    cut = 100 - TAIL if high_is_bad else TAIL
    return {
        "images": len(found),
        "mean": float(found.mean()),
        "sd": float(found.std(ddof=1)) if len(found) > 1 else None,
        tail: float(np.percentile(found, cut)),
        end: float(found.max() if high_is_bad else found.min()),
    }
