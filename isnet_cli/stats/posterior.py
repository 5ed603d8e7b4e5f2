"""Bayesian intervals of count scores: a closed-form Dirichlet posterior and its densest 95 %.

Each row of the confusion matrix (the images of one true class) and the class frequencies are
multinomial; with a Dirichlet prior their posteriors are Dirichlet(prior + counts), independent of
each other. Matrices are drawn from them and scored (Caelen, A Bayesian interpretation of the
confusion matrix, Annals of Mathematics and Artificial Intelligence 81, 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from isnet_cli.stats.sample import Counts, Floats, Path, Sample, compute_rates, count_scores

Prior = Literal["jeffreys", "uniform"]
BLOCK = 2**20  # random numbers drawn at a time
LEVEL = 0.95
Shape = Literal["densest", "equal_tails"]


def choose_prior(kind: Prior, classes: int) -> tuple[Floats, float]:
    """Prior counts of the confusion matrix [K, K] and of each class's frequency.

    ``uniform`` is Dirichlet(1, ..., 1) (ISNet paper, EVALUATION's check). It adds K - 1 errors to
    each class, which pulls accurate classifiers of many classes far down. ``jeffreys`` gives each
    class's recall Jeffreys' prior Beta(1/2, 1/2), the errors spread evenly; frequencies 1/2. For
    two classes that is Dirichlet(1/2, 1/2).
    """
    if kind == "uniform":
        return np.ones((classes, classes)), 1.0
    matrix = np.full((classes, classes), 0.5 / max(1, classes - 1))
    np.fill_diagonal(matrix, 0.5)
    return matrix, 0.5


def posterior_scores(
    sample: Sample,
    valid: Mapping[Path, Any],
    draws: int,
    rng: np.random.Generator,
    prior: Prior = "jeffreys",
) -> dict[Path, Floats]:
    """Draws [D] of every count score that has a value in the set, by path.

    Multi-label: each label is a matrix of its own; scores over several labels are left out, since
    the labels of one image are not independent.

    Args:
        sample: The labelled images, at least one.
        valid: Scores of the set itself, as of `read_values`; those without value are left out.
        draws: D.
        rng: Source of the draws.
        prior: As in `choose_prior`.
    """
    if sample.task == "multiclass":
        counts = _multiclass(_confusion(sample), draws, rng, prior)
        return count_scores(counts, compute_rates(counts), sample, valid)
    labels = [_label(sample, k, draws, rng, prior) for k in range(len(sample.classes))]
    counts = Counts(
        *(
            np.stack([getattr(one, name) for one in labels], axis=1)
            for name in Counts.__dataclass_fields__
        )
    )
    found = count_scores(counts, compute_rates(counts), sample, valid)
    return {path: values for path, values in found.items() if path[0] == "per_class"}


def _confusion(sample: Sample) -> Floats:
    table: Floats = sample.truth.T.astype(np.float64) @ sample.chosen.astype(np.float64)
    return table


def _label(sample: Sample, k: int, draws: int, rng: np.random.Generator, prior: Prior) -> Counts:
    """Shares of one label of several, each [D]."""
    truth, chosen = (part[sample.known[:, k], k] for part in (sample.truth, sample.chosen))
    rows = [[(truth == t) & (chosen == c) for c in (False, True)] for t in (False, True)]
    table = np.array([[float(cell.sum()) for cell in row] for row in rows])
    if not table.any():
        return Counts(*np.full((4, draws), np.nan))
    both = _multiclass(table, draws, rng, prior)
    return Counts(both.tp[:, 1], both.positive[:, 1], both.chosen[:, 1], both.known[:, 1])


def _multiclass(table: Floats, draws: int, rng: np.random.Generator, prior: Prior) -> Counts:
    """Shares [D, K] of the whole, drawn from the posterior of a confusion matrix [K, K]."""
    cells, frequency = choose_prior(prior, len(table))
    size = max(1, BLOCK // table.size)
    blocks = [
        _block(table, cells, frequency, min(size, draws - start), rng)
        for start in range(0, draws, size)
    ]
    tp, positive, chosen = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return Counts(tp, positive, chosen, np.ones_like(tp))


def _block(
    table: Floats, cells: Floats, frequency: float, draws: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    size = len(table)
    rows = rng.standard_gamma(table + cells, (draws, size, size))
    rows /= rows.sum(axis=2, keepdims=True)
    # A class without images is no part of what the set's scores are about.
    present = table.sum(axis=1) > 0
    shares = rng.standard_gamma(table.sum(axis=1) + frequency, (draws, size)) * present
    shares /= shares.sum(axis=1, keepdims=True)
    joint = rows * shares[:, :, None]
    return np.diagonal(joint, axis1=1, axis2=2).copy(), shares, joint.sum(axis=1)


def posterior_interval(draws: Floats, shape: Shape = "densest") -> tuple[float, float]:
    """95 % interval of the draws [D] of a posterior, of the given shape."""
    return densest_interval(draws) if shape == "densest" else equal_tails_interval(draws)


def equal_tails_interval(draws: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The interval with the same share of the draws [D] below and above it."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def densest_interval(draws: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The shortest interval that holds `level` of the draws [D] (highest density, one mode)."""
    ordered = np.sort(draws)
    held = max(1, int(np.ceil(level * len(ordered))))
    widths = ordered[held - 1 :] - ordered[: len(ordered) - held + 1]
    start = int(widths.argmin())
    return float(ordered[start]), float(ordered[start + held - 1])
