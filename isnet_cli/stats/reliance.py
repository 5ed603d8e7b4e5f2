"""How much of a relevance map lies outside the lungs, per map and over a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

NO_MASK = "no lung mask"
ZERO_MAP = "the map is zero everywhere"
NOT_FINITE = "the map holds NaN or infinity"
NO_SHARES = "no image of this set has both a lung mask and a map"

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reliance:
    """Where the relevance of each map lies; arrays are [B], or [B, K] for K maps an image.

    Attributes:
        outside_share: sum |R| outside the lungs / sum |R|, in [0, 1]; NaN where `why` says so.
        inside_density: Mean |R| of a lung pixel over the mean |R| of a pixel; 1 is an even map.
        outside_density: The same for the pixels outside; NaN when the mask covers the image.
        why: Reason for each NaN share, "" where there is a value; same shape.
    """

    outside_share: _Floats
    inside_density: _Floats
    outside_density: _Floats
    why: NDArray[np.str_]


def measure_reliance(maps: ArrayLike, masks: ArrayLike) -> Reliance:
    """Measures relevance `maps` against lung `masks`.

    Args:
        maps: [B, C, H, W], or [B, K, C, H, W] with K maps an image; signed relevance R.
            |R| is summed over channels, so that opposite signs do not cancel.
        masks: [B, H, W] or [B, 1, H, W]; lungs where not 0. An empty mask counts as none.

    Raises:
        ValueError: When the shapes do not belong together.
    """
    R = np.asarray(maps, np.float64)
    lungs = np.asarray(masks) != 0
    if lungs.ndim == 4 and lungs.shape[1] == 1:
        lungs = lungs[:, 0]
    if R.ndim not in {4, 5} or lungs.shape != (R.shape[0], *R.shape[-2:]):
        raise ValueError(f"maps {list(R.shape)} and masks {list(lungs.shape)} do not match")
    if R.ndim == 5:
        lungs = lungs[:, None]
    finite = np.isfinite(R).all(axis=(-3, -2, -1))
    amount = np.abs(np.where(np.isfinite(R), R, 0.0)).sum(axis=-3)
    total = amount.sum(axis=(-2, -1))
    outside = np.where(lungs, 0.0, amount).sum(axis=(-2, -1))
    covered = np.broadcast_to(lungs.mean(axis=(-2, -1)), total.shape)
    why = np.select(
        [covered == 0, ~finite, total == 0], [NO_MASK, NOT_FINITE, ZERO_MAP], default=""
    )
    share = _ratio(outside, np.where(why == "", total, 0.0))
    return Reliance(
        outside_share=share,
        inside_density=_ratio(1.0 - share, covered),
        outside_density=_ratio(share, 1.0 - covered),
        why=why,
    )


def outside_share(maps: ArrayLike, masks: ArrayLike) -> _Floats:
    """Share of absolute relevance outside the lungs, as `Reliance.outside_share`."""
    return measure_reliance(maps, masks).outside_share


def summarise(
    shares: Sequence[float], explained: Sequence[int], classes: Sequence[str]
) -> dict[str, Any]:
    """Mean and 95th percentile of outside shares, over all and per class explained by the map.

    Args:
        shares: One for each image, NaN where there is none.
        explained: Index of the class whose relevance the image's map shows, one for each image.
        classes: Names.

    Returns:
        ``n`` (images with a share), ``mean``, ``p95`` (None when n is 0, with ``why``), and
        ``per_class``: name -> the same.
    """
    values, index = np.asarray(shares, np.float64), np.asarray(explained)
    if values.shape != index.shape:
        raise ValueError(f"{len(values)} shares for {len(index)} images")
    per_class = {name: _spread(values[index == k]) for k, name in enumerate(classes)}
    return {**_spread(values), "per_class": per_class}


def _spread(values: _Floats) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    if not len(known):
        return {"n": 0, "mean": None, "p95": None, "why": NO_SHARES}
    return {
        "n": len(known),
        "mean": float(known.mean()),
        "p95": float(np.percentile(known, 95)),
    }


def _ratio(over: NDArray[Any], under: NDArray[Any]) -> _Floats:
    """The quotient; NaN where `under` is 0."""
    result: _Floats = np.full(np.broadcast_shapes(over.shape, under.shape), np.nan)
    np.divide(over, under, out=result, where=under != 0)
    return result
