"""Scores of subgroups of one test set, with one threshold for all, and each group against the rest.

A group's gap is its score minus that of all other images of the set whose group is known. The two
sides have different patients; where a patient is in both (two projections of one person), no
interval is given, since the two would not be independent. Holm's correction is over all gaps of one
score in a set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.comparison import adjust_by_holm
from isnet_cli.stats.intervals import add_intervals, empty_cell
from isnet_cli.stats.sample import Path, make_sample
from isnet_cli.stats.scores import scores
from isnet_cli.stats.shift import Test, independent_differences

GAPS: Mapping[str, Path] = {
    "macro_auc": ("macro", "auc"),
    "macro_f1": ("macro", "f1"),
    "macro_recall": ("macro", "recall"),
    "macro_specificity": ("macro", "specificity"),
    "accuracy": ("accuracy",),
}
SHARED = "patients are on both sides"
UNKNOWN = ""  # group of images of which it is not known


@dataclass(frozen=True)
class Predicted:
    """Predictions of one set.

    Attributes:
        p: Probabilities [N, K].
        labels: As of `scores`.
        patients: Of each image; empty: unknown, a patient of its own [N].
        classes: K names.
        thresholds: Multi-label: [K], the same for every group; else None.
    """

    p: NDArray[np.float64]
    labels: NDArray[Any]
    patients: Sequence[str]
    classes: Sequence[str]
    thresholds: Sequence[float] | None

    def part(self, chosen: NDArray[np.bool_]) -> Test:
        """Scores and sample of some of the images [N]."""
        patients = [name for name, yes in zip(self.patients, chosen, strict=True) if yes]
        p, labels = self.p[chosen], self.labels[chosen]
        found = scores(p, labels, self.classes, self.thresholds)
        return Test(found, make_sample(p, labels, self.classes, self.thresholds, patients))


def score_subgroups(
    predicted: Predicted,
    columns: Mapping[str, Sequence[str]],
    settings: Intervals,
    least: int,
    seed: int,
) -> dict[str, Any]:
    """Scores of every subgroup by every column, and its gap to the rest.

    Args:
        predicted: The set.
        columns: Name -> group of each image [N]; `UNKNOWN` where it is not known.
        settings: Of the intervals.
        least: Labelled images that a group must have to be shown.
        seed: Of all draws.

    Returns:
        Column -> ``groups``: name -> ``{n, patients, accuracy, balanced_accuracy, macro,
        per_class, intervals, gaps}``; ``unknown``: labelled images whose group is not known;
        ``suppressed``: ``{groups, images}`` of the groups that are too small; ``why`` where no
        group is shown. A gap is ``{value, low, high, sd, p, p_holm, method}``.
    """
    labelled = _find_labelled(predicted.labels)
    found = {
        name: _score_column(predicted, np.array(groups, object), labelled, settings, least, seed)
        for name, groups in columns.items()
    }
    cells = [group["gaps"] for column in found.values() for group in column["groups"].values()]
    for score in GAPS:
        adjusted = adjust_by_holm([gaps[score]["p"] for gaps in cells])
        for gaps, value in zip(cells, adjusted, strict=True):
            gaps[score]["p_holm"] = value
    return found


def _find_labelled(labels: NDArray[Any]) -> NDArray[np.bool_]:
    known = labels >= 0 if labels.ndim == 1 else ~np.isnan(labels.astype(float)).all(axis=1)
    return np.asarray(known, bool)


def _score_column(
    predicted: Predicted,
    groups: NDArray[Any],
    labelled: NDArray[np.bool_],
    settings: Intervals,
    least: int,
    seed: int,
) -> dict[str, Any]:
    count = Counter(groups[labelled].tolist())
    unknown = count.pop(UNKNOWN, 0)
    shown = sorted(name for name, n in count.items() if n >= least)
    small = [n for n in count.values() if n < least]
    column: dict[str, Any] = {
        "groups": {}, "unknown": unknown,
        "suppressed": {"groups": len(small), "images": sum(small)},
    }  # fmt: skip
    if not shown:
        column["why"] = f"no group has {least} labelled images"
        return column
    known = (groups != UNKNOWN) & labelled
    for name in shown:
        inside = known & (groups == name)
        own, rest = predicted.part(inside), known & ~inside
        extra = add_intervals(own.metrics, own.sample, settings, seed)
        kept = ("n", "accuracy", "balanced_accuracy", "macro", "per_class", "why")
        column["groups"][name] = {
            **{key: own.metrics[key] for key in kept if key in own.metrics},
            "patients": extra["patients"],
            "intervals": extra["intervals"],
            "gaps": _compare(predicted, own, inside, rest, settings, seed, least),
        }
    return column


def _compare(
    predicted: Predicted,
    own: Test,
    inside: NDArray[np.bool_],
    rest: NDArray[np.bool_],
    settings: Intervals,
    seed: int,
    least: int,
) -> dict[str, dict[str, Any]]:
    """The gaps of one group to the rest."""
    if rest.sum() < least:
        why = f"the rest has fewer than {least} labelled images"
        return {score: {**empty_cell(None, why), "p": None} for score in GAPS}
    other = predicted.part(rest)
    names = [set(np.array(predicted.patients, object)[side]) - {""} for side in (inside, rest)]
    if names[0] & names[1]:
        return {
            score: {**empty_cell(_minus(own, other, path), SHARED), "p": None}
            for score, path in GAPS.items()
        }
    tree = independent_differences(other, own, settings, seed)
    found = {}
    for score, path in GAPS.items():
        cell: Any = tree
        for key in path:
            cell = cell[key]
        found[score] = {**dict.fromkeys(("value", "low", "high", "sd", "p")), **cell}
    return found


def _minus(own: Test, other: Test, path: Path) -> float | None:
    mine, theirs = own.values[path], other.values[path]
    return None if mine is None or theirs is None else mine - theirs
