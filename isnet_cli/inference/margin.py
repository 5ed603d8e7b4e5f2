"""How decided a model is about an image: the distance of its answer to the nearest other answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isnet_cli.inference.limits import lower_limit

SHARE = 0.1  # of the validation images count as undecided

Floats = NDArray[np.float64]


def margins(logits: ArrayLike, thresholds: Sequence[float] | None) -> Floats:
    """Log-odds between what is predicted and the nearest other prediction, [N, M], >= 0.

    Multi-class: log(p1 / p2) of the two most probable classes, M = 1. Multi-label: for each label
    |logit(p) - logit(threshold)|, M = K; infinite for a threshold of 0 or 1.

    Args:
        logits: [N, K]; multi-class with K >= 2.
        thresholds: Multi-label: [K] in [0, 1]; None for exclusive classes.
    """
    y = np.asarray(logits, np.float64)
    if thresholds is None:
        top = np.sort(y, axis=1)
        return top[:, -1:] - top[:, -2:-1]
    t = np.asarray(thresholds, np.float64)
    with np.errstate(divide="ignore"):
        found: Floats = np.abs(y - (np.log(t) - np.log1p(-t)))
    return found


def undecided_limit(margin: ArrayLike, wrong: ArrayLike) -> dict[str, Any]:
    """The margin below which an image counts as undecided, by the validation images.

    Args:
        margin: Smallest margin of each validation image [n].
        wrong: Whether its prediction was wrong; NaN where its label is unknown [n].

    Returns:
        As `isnet_cli.inference.limits.lower_limit` with `SHARE`, and ``wrong``: the share of wrong
        predictions ``below`` the limit and from there (``above``), None without images.
    """
    values, faults = np.asarray(margin, np.float64), np.asarray(wrong, np.float64)
    found = lower_limit(values, SHARE)
    if found["limit"] is None:
        return found
    below = values < found["limit"]
    return {**found, "wrong": {"below": _mean(faults[below]), "above": _mean(faults[~below])}}


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
