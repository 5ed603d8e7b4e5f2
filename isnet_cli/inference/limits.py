"""Limits that images like the validation images exceed with a known, small share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

FEWEST = 10  # validation images; fewer say nothing about one image in ten


def upper_limit(values: ArrayLike, share: float) -> dict[str, Any]:
    """The value that about `share` of images like these exceed.

    The k-th smallest of n values, k = ceil((1 - share) (n + 1)), at most n: a further image drawn
    like them exceeds it with probability (n + 1 - k) / (n + 1) or less, whatever the distribution
    (split conformal prediction; Vovk et al., Algorithmic Learning in a Random World, 2005; Bates
    et al., Testing for outliers with conformal p-values, Annals of Statistics 51:149, 2023).

    Args:
        values: [n], one per validation image.
        share: Wanted share, above 0 and below 1; with few images the smallest possible is larger.

    Returns:
        ``limit``, ``share`` (what the rule grants: (n + 1 - k) / (n + 1)) and ``n``; with fewer
        than `FEWEST` values, or one that is not a number, ``limit`` is None and ``why`` says so.
    """
    found = np.sort(np.asarray(values, np.float64))
    n = len(found)
    if n < FEWEST:
        return _none(n, f"too few validation images: {n}, expected {FEWEST} or more")
    if np.isnan(found).any():
        return _none(n, "values of validation images are not numbers")
    k = min(n, math.ceil((1 - share) * (n + 1)))
    if not np.isfinite(found[k - 1]):
        return _none(n, "values of validation images are not finite")
    return {"limit": float(found[k - 1]), "share": (n + 1 - k) / (n + 1), "n": n}


def lower_limit(values: ArrayLike, share: float) -> dict[str, Any]:
    """As `upper_limit`: the value that about `share` of images like these fall below."""
    found = upper_limit(-np.asarray(values, np.float64), share)
    return {**found, "limit": None if found["limit"] is None else -found["limit"]}


def _none(n: int, why: str) -> dict[str, Any]:
    return {"limit": None, "share": None, "n": n, "why": why}
