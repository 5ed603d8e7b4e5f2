"""Thresholds of a multi-label model, chosen on the validation images and stored with the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from isnet_cli.stats.sample import Bools, Floats
from isnet_cli.stats.scores import DEFAULT_THRESHOLD, checked_probabilities

RULE = "best F1 on the validation images"


def choose_thresholds(
    probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str]
) -> dict[str, Any]:
    """For each label the threshold of the best F1.

    The threshold lies halfway between two neighbouring probabilities (halfway to 0 or 1 at the
    ends), so that an image at the edge is not decided by rounding. Of equal F1 the gap nearest to
    0.5 is taken. A label without positives or without negatives keeps 0.5.

    Args:
        probabilities: [N, K] of the validation images, in [0, 1].
        labels: [N, K] of 0, 1 and NaN (unknown, left out).
        classes: The K names.

    Returns:
        ``thresholds`` [K] in [0, 1]; ``threshold_rule``: ``rule``, ``f1`` (name -> F1 there) and
        ``why`` (name -> reason for 0.5), each for the labels that it concerns.

    Raises:
        IsnetError: Kind "weights", when probabilities are not finite.
        ValueError: When the shapes do not belong together.
    """
    p, truth = checked_probabilities(probabilities, classes), np.asarray(labels, np.float64)
    if truth.shape != p.shape:
        raise ValueError(f"labels {list(truth.shape)}, probabilities {list(p.shape)}")
    limits, best, why = [], {}, {}
    for k, name in enumerate(classes):
        known = ~np.isnan(truth[:, k])
        score, positive = p[known, k], truth[known, k] == 1
        if positive.any() and not positive.all():
            limit, best[name] = _best(score, positive)
        else:
            limit = DEFAULT_THRESHOLD
            lacking = "without" if positive.any() else "with"
            why[name] = f"no validation image {lacking} '{name}'"
        limits.append(limit)
    return {"thresholds": limits, "threshold_rule": {"rule": RULE, "f1": best, "why": why}}


def _best(score: Floats, positive: Bools) -> tuple[float, float]:
    """Threshold and F1; `score` and `positive` [n], both kinds present."""
    values, inverse = np.unique(score, return_inverse=True)
    hits = np.bincount(inverse.reshape(-1), weights=positive, minlength=len(values))
    images = np.bincount(inverse.reshape(-1), minlength=len(values))
    # At value i and above: true positives and predictions.
    tp, chosen = (np.cumsum(part[::-1])[::-1] for part in (hits, images))
    f1 = 2 * tp / (chosen + positive.sum())
    limits = (np.r_[0.0, values[:-1]] + values) / 2
    equal = np.flatnonzero(f1 >= f1.max() - 1e-12)
    at = equal[np.abs(limits[equal] - DEFAULT_THRESHOLD).argmin()]
    return float(limits[at]), float(f1[at])
