"""Bootstrap by patient: all images of a drawn patient come together.

One draw gives each image a weight (how often its patient was drawn), and every score is computed
from weights, many draws at a time. Two models on the same images share the draws, so that their
difference is paired (Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Field and Welsh,
Bootstrapping clustered data, JRSS B 69, 2007).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, stdtrit

from isnet_cli.stats.calibration import image_losses
from isnet_cli.stats.sample import (
    AREAS,
    Floats,
    Path,
    Sample,
    compute_rates,
    count_outcomes,
    count_scores,
    spread_over_classes,
)

BLOCK = 2**20  # weights held at a time
ENOUGH = 0.8  # share of draws in which a score must have a value
EVERYTHING: frozenset[str] = frozenset({"counts", *AREAS, "brier"})


def bootstrap_weights(patients: NDArray[np.int64], draws: int, seed: int) -> Iterator[Floats]:
    """How often each image is drawn, [D', N] block by block, D' summing to `draws`.

    Patients are drawn with replacement, as many as there are; the same seed and patients give the
    same draws, in the same blocks.
    """
    clusters = int(patients.max()) + 1
    size = max(1, BLOCK // len(patients))
    rng = np.random.default_rng(seed)
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = rng.integers(0, clusters, (rows, clusters))
        drawn += np.arange(rows)[:, None] * clusters
        counts = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        yield counts[:, patients].astype(np.float64)


def bootstrap_scores(
    samples: Sequence[Sample],
    valid: Sequence[Mapping[Path, Any]],
    draws: int,
    seed: int,
    kinds: frozenset[str] = EVERYTHING,
) -> list[dict[Path, Floats]]:
    """Scores [D] of every draw by path, for samples of the same images (one, or several models).

    Args:
        samples: Predictions of the same images of the same patients.
        valid: Scores of each sample itself, as of `read_values`; those without value are left out.
        draws: D.
        seed: Of the draws.
        kinds: Of "counts", "auc", "ap", "brier": what is computed.

    Returns:
        For each sample its scores; NaN in draws where one has no value.

    Raises:
        ValueError: When the samples are not of the same images.
    """
    patients = samples[0].patients
    if any(not np.array_equal(sample.patients, patients) for sample in samples[1:]):
        raise ValueError("paired samples must be of the same images of the same patients")
    scorers = [_scorer(s, v, kinds) for s, v in zip(samples, valid, strict=True)]
    found: list[dict[Path, list[Floats]]] = [{} for _ in samples]
    for block in bootstrap_weights(patients, draws, seed):
        for parts, score in zip(found, scorers, strict=True):
            for path, values in score(block).items():
                parts.setdefault(path, []).append(values)
    return [{path: np.concatenate(v) for path, v in parts.items()} for parts in found]


def _scorer(
    sample: Sample, valid: Mapping[Path, Any], kinds: frozenset[str]
) -> Callable[[Floats], dict[Path, Floats]]:
    """Weights [D, N] -> scores; what does not depend on weights is done once."""
    size = len(sample.classes)
    areas = [rate for rate in AREAS if rate in kinds]
    # A class in which no area has a value is not sorted at all.
    sorters = [
        _Sorted(sample, k)
        if any(valid.get(("per_class", name, rate)) is not None for rate in areas)
        else None
        for k, name in enumerate(sample.classes)
    ]
    losses, known = image_losses(sample)

    def score(w: Floats) -> dict[Path, Floats]:
        found: dict[Path, Floats] = {}
        if "counts" in kinds:
            counts = count_outcomes(sample, w)
            found |= count_scores(counts, compute_rates(counts), sample, valid)
        if areas:
            values = {rate: np.full((len(w), size), np.nan) for rate in AREAS}
            for k, sorter in enumerate(sorters):
                if sorter is not None:
                    values["auc"][:, k], values["ap"][:, k] = sorter.areas(w)
            for rate in areas:
                found |= spread_over_classes(rate, values[rate], sample.classes, valid)
        if "brier" in kinds:
            found["calibration", "brier"] = _quotient(w @ losses, w @ known)
        return found

    return score


class _Sorted:
    """The images of one class in falling order of probability, equal ones in groups."""

    def __init__(self, sample: Sample, k: int) -> None:
        known = np.flatnonzero(sample.known[:, k])
        order = known[np.argsort(-sample.p[known, k], kind="stable")]
        score = sample.p[order, k]
        self.order, self.positive = order, sample.truth[order, k].astype(np.float64)
        self.starts = np.flatnonzero(np.r_[True, np.diff(score) != 0])

    def areas(self, w: Floats) -> tuple[Floats, Floats]:
        """ROC-AUC and average precision under weights [D, N], each [D]."""
        ordered = w[:, self.order]
        positive = ordered * self.positive
        negative = ordered - positive
        if len(self.starts) < len(self.order):
            positive = np.add.reduceat(positive, self.starts, axis=1)
            negative = np.add.reduceat(negative, self.starts, axis=1)
        true, false = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
        m, n = true[:, -1], false[:, -1]
        below = n[:, None] - false + negative / 2
        precision = true / np.maximum(true + false, 1e-300)
        won, ap = ((positive * part).sum(axis=1) for part in (below, precision))
        both = (m > 0) & (n > 0)
        return _quotient(won, np.where(both, m * n, 0)), _quotient(ap, np.where(both, m, 0))


def _quotient(over: Floats, under: Floats) -> Floats:
    result: Floats = np.full(len(over), np.nan)
    np.divide(over, under, out=result, where=under > 0)
    return result


def keep_usable_draws(draws: Floats) -> Floats | None:
    """The draws that have a value, or None when these are fewer than `ENOUGH`."""
    known = draws[~np.isnan(draws)]
    return known if len(known) >= ENOUGH * len(draws) else None


def percentile_interval(draws: Floats, clusters: int) -> tuple[float, float]:
    """95 % percentile interval, expanded for small numbers of patients.

    The levels are those of a t-interval, Phi(-t sqrt(n / (n - 1))), since the plain percentile
    interval is too narrow by that much (Hesterberg, The American Statistician 69, 2015): at 1,000
    patients they are 2.5 % and 97.5 %, at 50 2.1 % and 97.9 %.
    """
    n = max(3, clusters)
    tail = ndtr(-student_quantile(n - 1) * math.sqrt(n / (n - 1)))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def logit_interval(value: float, draws: Floats, clusters: int) -> tuple[float, float]:
    """95 % interval of a score in (0, 1): its logit +- t times the bootstrap's s.d. on that scale.

    For average precision, whose draws are biased upwards: the percentile interval holds the truth
    in 90 % of samples with 20 positives, this one in 94 %.

    Args:
        value: The score of the set itself.
        draws: Of the score.
        clusters: Patients with positives, one less being the degrees of freedom.
    """
    scale = float(draws.std(ddof=1)) / (value * (1 - value))
    half = student_quantile(max(3, clusters) - 1) * scale
    middle = math.log(value / (1 - value))
    return float(expit(middle - half)), float(expit(middle + half))


def student_quantile(freedom: int) -> float:
    """The 97.5 % point of Student's t distribution."""
    return float(stdtrit(freedom, 0.975))


def bootstrap_p_value(differences: Floats) -> float:
    """Two-sided p of differences [D] against 0: twice the smaller tail, never 0."""
    d = len(differences)
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (d + 1)))
