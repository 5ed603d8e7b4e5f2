"""Do probabilities mean what they say: Brier score, expected calibration error, reliability curve.

The calibration error of bins (Naeini et al., AAAI 2015) is never 0 in a finite set: chance alone
makes each bin's frequency differ from its mean probability. A bootstrap interval around it leaves
out the truth of a calibrated model every time, so none is given; beside the error stands what a
perfectly calibrated model with the same probabilities would show (consistency resampling, Broecker
and Smith, Weather and Forecasting 22, 2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.stats.roc import Z
from isnet_cli.stats.sample import Bools, Floats, Sample

BINS = 10  # of equal width over [0, 1]
NO_INTERVAL = "no interval: compare with ece_if_calibrated, see docs/evaluation.md"
_BLOCK = 2**20
Pair = tuple[Floats, Bools]  # probabilities of an event, and whether it happened


def calibration(sample: Sample, draws: int, seed: int) -> dict[str, Any]:
    """Calibration of a test set, JSON-able.

    Args:
        sample: The labelled images, at least one.
        draws: Sets drawn for ``ece_if_calibrated``.
        seed: Of these draws.

    Returns:
        ``brier``: mean over images of sum_k (p_k - y_k)^2, halved for two classes (multi-label:
        mean over known labels of (p - y)^2). ``ece``: sum over `BINS` bins of n_b / n |mean
        probability
        - frequency|, of the predicted class being right (multi-label: mean of the labels').
        ``ece_if_calibrated``: ``mean`` and 95 % quantile ``high`` of the error of a calibrated
        model, and ``p``, the share of its sets with at least this error. ``curve`` (multi-class)
        and ``per_class``: name -> ``brier``, ``ece``, ``curve``; a curve is a list of bins, see
        `reliability`.
    """
    losses, known = image_losses(sample)
    events = _events(sample)
    ece = float(np.mean([expected_error(*pair) for pair in events]))
    found: dict[str, Any] = {
        "brier": float(losses.sum() / known.sum()),
        "ece": ece,
        "ece_if_calibrated": _if_calibrated(events, ece, draws, seed),
    }
    if sample.task == "multiclass":
        found["curve"] = reliability(*events[0])
    found["per_class"] = {name: _of_class(sample, k) for k, name in enumerate(sample.classes)}
    return found


def _of_class(sample: Sample, k: int) -> dict[str, Any]:
    known = sample.known[:, k]
    p, y = sample.p[known, k], sample.truth[known, k]
    if not len(p):
        why = f"no image whose label '{sample.classes[k]}' is known"
        return {"brier": None, "ece": None, "curve": [], "why": why}
    return {
        "brier": float(((p - y) ** 2).mean()),
        "ece": expected_error(p, y),
        "curve": reliability(p, y),
    }


def image_losses(sample: Sample) -> tuple[Floats, Floats]:
    """Each image's part of the Brier score, and its weight in the mean; both [N]."""
    squares = np.where(sample.known, (sample.p - sample.truth) ** 2, 0.0).sum(axis=1)
    if sample.task == "multilabel":
        return squares, sample.known.sum(axis=1).astype(np.float64)
    return squares / (2 if len(sample.classes) == 2 else 1), np.ones(len(sample))


def _events(sample: Sample) -> list[Pair]:
    """Whether the predicted class is right; multi-label: whether each label is there."""
    if sample.task == "multiclass":
        right: Bools = np.any(sample.truth & sample.chosen, axis=1)
        return [(sample.p.max(axis=1), right)]
    return [
        (sample.p[known, k], sample.truth[known, k])
        for k, known in enumerate(sample.known.T)
        if known.any()
    ]


def expected_error(p: Floats, happened: Bools) -> float:
    """Expected calibration error of probabilities [n] of an event, n at least 1."""
    sums = np.bincount(_bins(p), weights=p - happened, minlength=BINS)
    return float(np.abs(sums).sum() / len(p))


def _bins(p: Floats) -> NDArray[np.int64]:
    return np.minimum((p * BINS).astype(np.int64), BINS - 1)


def _if_calibrated(events: Sequence[Pair], ece: float, draws: int, seed: int) -> dict[str, float]:
    """The error of sets whose events happen with their very probabilities."""
    rng, total = np.random.default_rng(seed), np.zeros(draws)
    for p, _ in events:
        member = (_bins(p)[:, None] == np.arange(BINS)).astype(np.float64)
        expected, size = p @ member, max(1, _BLOCK // len(p))
        for start in range(0, draws, size):
            rows = min(size, draws - start)
            happened = (rng.random((rows, len(p))) < p).astype(np.float64)
            errors = np.abs(happened @ member - expected).sum(axis=1) / len(p)
            total[start : start + rows] += errors / len(events)
    return {
        "mean": float(total.mean()),
        "high": float(np.quantile(total, 0.95)),
        "p": float((1 + (total >= ece - 1e-12).sum()) / (1 + draws)),
    }


def reliability(p: Floats, happened: Bools) -> list[dict[str, Any]]:
    """Bins that hold images: ``low``, ``high`` (edges), ``n``, ``predicted`` (mean probability).

    Also ``observed`` (frequency), and ``observed_low``, ``observed_high`` (Wilson's 95 % interval).
    """
    place = _bins(p)
    curve = []
    for b in np.unique(place):
        inside = place == b
        n, hits = int(inside.sum()), int(happened[inside].sum())
        low, high = wilson(hits, n)
        curve.append(
            {
                "low": int(b) / BINS, "high": (int(b) + 1) / BINS, "n": n,
                "predicted": float(p[inside].mean()), "observed": hits / n,
                "observed_low": low, "observed_high": high,
            }
        )  # fmt: skip
    return curve


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share, n at least 1 (Wilson, JASA 22, 1927)."""
    share, z2 = hits / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
