"""Differences of scores between two tests, with intervals: backgrounds, hospitals, models.

Paired: two models, or two versions of the same images; every draw takes the same patients in both,
and DeLong's test knows the covariance. Independent: two sets of different patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.bootstrap import (
    bootstrap_p_value,
    bootstrap_scores,
    keep_usable_draws,
    percentile_interval,
)
from isnet_cli.stats.calibration import image_losses
from isnet_cli.stats.intervals import SAME_DRAWS, Cell, choose_kinds, empty_cell, nest_cells
from isnet_cli.stats.posterior import Shape, posterior_interval, posterior_scores
from isnet_cli.stats.roc import Z, area_variance, compute_areas, p_value
from isnet_cli.stats.sample import Floats, Path, Sample, read_values

OTHER_CLASSES = "the means are over different classes"
NO_VALUE = "one of the two scores has no value"


@dataclass(frozen=True)
class Test:
    """Scores of one set in one version, or of one model.

    Attributes:
        metrics: As of `scores`.
        sample: The predictions that they were computed from.
    """

    __test__ = False  # not one of pytest's

    metrics: Mapping[str, Any]
    sample: Sample

    @property
    def values(self) -> dict[Path, float | None]:
        """Scores by path, the Brier score among them."""
        found = read_values(self.metrics)
        losses, known = image_losses(self.sample)
        found["calibration", "brier"] = float(losses.sum() / known.sum()) if len(losses) else None
        return found


def paired_differences(first: Test, second: Test, settings: Intervals, seed: int) -> dict[str, Any]:
    """`second` minus `first` on the same images, for every score.

    Args:
        first: Scores and predictions.
        second: Scores and predictions of the same labelled images in the same order.
        settings: Method and numbers of draws.
        seed: Of the draws.

    Returns:
        The tree of `scores` with cells ``{value, low, high, sd, p, method}``; ``p`` is two-sided,
        against no difference. Areas: DeLong's paired test; all others: bootstrap by patient.

    Raises:
        ValueError: When the images, patients or classes are not the same.
    """
    return all_paired_differences([first, second], settings, seed)[0, 1]


def all_paired_differences(
    tests: Sequence[Test],
    settings: Intervals,
    seed: int,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> dict[tuple[int, int], dict[str, Any]]:
    """`paired_differences` of pairs of models; their draws are made once for all.

    Args:
        tests: Scores and predictions of each model for the same labelled images in the same order.
        settings: Method and numbers of draws.
        seed: Of the draws.
        pairs: Numbers (i, j) of models; None: all, i < j.

    Returns:
        (i, j) -> the tree of model j minus model i.

    Raises:
        ValueError: As `paired_differences`.
    """
    samples = [test.sample for test in tests]
    a = samples[0]
    if any(a.classes != b.classes or not np.array_equal(a.truth, b.truth) for b in samples[1:]):
        raise ValueError("paired samples must be of the same images, labels and classes")
    values = [test.values for test in tests]
    closed = settings.method != "bootstrap"
    drawn: list[dict[Path, Floats]] = [{} for _ in tests]
    if a.clusters > 1:
        kinds = frozenset({"counts", "ap", "brier"} | (set() if closed else {"auc"}))
        drawn = bootstrap_scores(samples, values, settings.bootstrap, seed, kinds)
    found = {}
    for i, j in combinations(range(len(tests)), 2) if pairs is None else pairs:
        one, other = drawn[i], drawn[j]
        draws = {path: other[path] - one[path] for path in one.keys() & other.keys()}
        areas = _area_differences(samples[i], samples[j], paired=True) if closed else {}
        found[i, j] = _tree((values[i], values[j]), areas, {}, draws, a.clusters)
    return found


def independent_differences(
    first: Test, second: Test, settings: Intervals, seed: int
) -> dict[str, Any]:
    """`second` minus `first` on different patients, as `paired_differences`.

    Count scores: difference of the two posteriors' draws (unless bootstrapped, as for one set);
    areas: the variances add; all others: difference of two bootstraps.
    """
    sides = (first, second)
    values = (first.values, second.values)
    samples = (first.sample, second.sample)
    if samples[0].classes != samples[1].classes:
        raise ValueError("the samples must have the same classes")
    if not all(map(len, samples)):
        return _tree(values, {}, {}, {}, 0)
    closed = set.intersection(*(choose_kinds(s, settings)[1] for s in samples))
    areas = _area_differences(*samples, paired=False) if "auc" in closed else {}
    posterior: list[dict[Path, Floats]] = []
    if "counts" in closed:
        posterior = [
            posterior_scores(
                t.sample, v, settings.draws, np.random.default_rng([seed, i]), settings.prior
            )
            for i, (t, v) in enumerate(zip(sides, values, strict=True))
        ]
    drawn: list[dict[Path, Floats]] = []
    clusters = min(sample.clusters for sample in samples)
    if clusters > 1:
        kinds = frozenset({"counts", "auc", "ap", "brier"})
        if areas:
            kinds -= {"auc"}
        if "counts" in closed and samples[0].task == "multiclass":
            kinds -= {"counts"}
        drawn = [
            bootstrap_scores([s], [v], settings.bootstrap, seed + i, kinds)[0]
            for i, (s, v) in enumerate(zip(samples, values, strict=True))
        ]
    return _tree(values, areas, _minus(posterior), _minus(drawn), clusters, settings.shape)


def _minus(sides: Sequence[dict[Path, Floats]]) -> dict[Path, Floats]:
    if not sides:
        return {}
    return {path: sides[1][path] - sides[0][path] for path in sides[0].keys() & sides[1].keys()}


def _tree(
    values: tuple[dict[Path, float | None], dict[Path, float | None]],
    areas: Mapping[Path, Cell],
    posterior: Mapping[Path, Floats],
    draws: Mapping[Path, Floats],
    clusters: int,
    shape: Shape = "densest",
) -> dict[str, Any]:
    cells: dict[Path, Cell] = {}
    for path, before in values[0].items():
        after = values[1][path]
        if before is None or after is None:
            cells[path] = empty_cell(None, NO_VALUE)
        elif not _same_classes(path, values):
            cells[path] = empty_cell(None, OTHER_CLASSES)
        elif path in areas:
            cells[path] = areas[path]
        elif path in posterior:
            low, high = posterior_interval(posterior[path], shape)
            cells[path] = _cell(after - before, low, high, posterior[path], "dirichlet")
        else:
            cells[path] = _bootstrapped(after - before, draws.get(path), clusters)
    return nest_cells(cells)


def _same_classes(path: Path, values: Sequence[Mapping[Path, float | None]]) -> bool:
    """Whether a mean over classes is over the same ones on both sides."""
    if path[0] not in ("macro", "balanced_accuracy"):
        return True
    rates = ("recall", "specificity") if path[0] == "balanced_accuracy" else (path[1],)
    present = [
        {p for p, value in side.items() if p[-1] in rates and p[0] == "per_class" and value is None}
        for side in values
    ]
    return present[0] == present[1]


def _bootstrapped(value: float, draws: Floats | None, clusters: int) -> Cell:
    known = None if draws is None else keep_usable_draws(draws)
    if known is None:
        return empty_cell(value, "too few patients for a bootstrap of this score")
    if float(known.std()) < 1e-12:
        return empty_cell(value, SAME_DRAWS)
    return _cell(value, *percentile_interval(known, clusters), known, "bootstrap")


def _cell(value: float, low: float, high: float, draws: Floats, method: str) -> Cell:
    return {
        "value": value, "low": low, "high": high, "sd": float(draws.std(ddof=1)),
        "p": bootstrap_p_value(draws), "method": method,
    }  # fmt: skip


def _area_differences(a: Sample, b: Sample, *, paired: bool) -> dict[Path, Cell]:
    """Differences of areas, of each class and of their mean; where there are areas on both sides.

    A variance of 0 on both sides (perfect separation twice) leaves no interval.
    """
    one, other = compute_areas(a), compute_areas(b)
    both = [k for k in range(len(a.classes)) if not np.isnan(one.auc[k] + other.auc[k])]
    cells: dict[Path, Cell] = {}
    groups: dict[Path, list[int]] = {("per_class", a.classes[k], "auc"): [k] for k in both}
    if both:
        groups["macro", "auc"] = both
    for path, ks in groups.items():
        value = float(other.auc[ks].mean() - one.auc[ks].mean())
        psi = [side.psi[:, ks].mean(axis=1) for side in (one, other)]
        if paired:
            var = area_variance(psi[1] - psi[0], a.patients)
        else:
            var = area_variance(psi[0], a.patients) + area_variance(psi[1], b.patients)
        if not var > 0:
            cells[path] = empty_cell(value, "DeLong's variance has no value or is 0")
            continue
        sd = math.sqrt(var)
        cells[path] = {
            "value": value, "low": value - Z * sd, "high": value + Z * sd, "sd": sd,
            "p": p_value(value, var), "method": "delong",
        }  # fmt: skip
    return cells


def shift_tables(
    tests: Mapping[tuple[str, str], Test], reference: str, settings: Intervals, seed: int
) -> list[dict[str, Any]]:
    """Every delta between tests of one model.

    Within a set: from the biased version of its images to each other version (paired). Between
    sets: from the standard version of `reference` to that of each other set (independent).

    Args:
        tests: (set, version) -> scores and predictions, of one model.
        reference: Name of the set that the others are compared with.
        settings: Method and numbers of draws.
        seed: Of the draws.

    Returns:
        One entry a pair: ``from`` and ``to`` (each [set, version]), ``paired``, ``differences``.
    """
    found = []
    for (name, version), test in tests.items():
        base = tests.get((name, "biased"))
        if base is not None and version != "biased" and len(test.sample):
            differences = paired_differences(base, test, settings, seed)
            found.append(_pair((name, "biased"), (name, version), True, differences))
    start = tests.get((reference, "standard"))
    for (name, version), test in tests.items():
        if start is None or not len(start.sample) or not len(test.sample):
            continue
        if version == "standard" and name != reference:
            differences = independent_differences(start, test, settings, seed)
            found.append(_pair((reference, version), (name, version), False, differences))
    return found


def _pair(
    before: tuple[str, str], after: tuple[str, str], paired: bool, differences: dict[str, Any]
) -> dict[str, Any]:
    return {
        "from": list(before), "to": list(after), "paired": paired, "differences": differences
    }  # fmt: skip
