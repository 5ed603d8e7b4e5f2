"""Predictions of one test set beside its labels, and every rate as a function of counts.

Counts may be of one set [K], or of many draws at once [D, K]: intervals use the same formulas as
scores, on arrays.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isnet_cli.stats.scores import checked_probabilities, decide

COUNTED: tuple[str, ...] = ("precision", "recall", "specificity", "f1")
AREAS: tuple[str, ...] = ("auc", "ap")
Path = tuple[str, ...]  # where a figure stands in the metrics: ("macro", "f1")
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """The labelled images of a test set; N images, K classes, C patients.

    Attributes:
        classes: The K names.
        task: ``multiclass`` or ``multilabel``.
        p: Probabilities [N, K].
        truth: Whether image n is of class k [N, K]; False where unknown.
        known: Whether that is known [N, K]; multi-class: everywhere.
        chosen: Whether class k was predicted [N, K]; multi-class: one an image.
        patients: Number of each image's patient, 0 to C-1 [N]; an image without one is its own.
        rows: Place of each image in what the sample was made from [N].
    """

    classes: tuple[str, ...]
    task: str
    p: Floats
    truth: Bools
    known: Bools
    chosen: Bools
    patients: NDArray[np.int64]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.p)

    @property
    def clusters(self) -> int:
        """Number of patients."""
        return int(self.patients.max()) + 1 if len(self.patients) else 0

    @property
    def repeated(self) -> bool:
        """Whether some patient has more than one image."""
        return self.clusters < len(self)


def make_sample(
    probabilities: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    thresholds: Sequence[float] | None = None,
    patients: Sequence[Hashable] | None = None,
) -> Sample:
    """The labelled images among predictions.

    Args:
        probabilities: [N, K], as for `scores`.
        labels: As for `scores`: integers [N], -1 for none; or [N, K] of 0, 1, NaN.
        classes: The K names.
        thresholds: Multi-label only: [K].
        patients: One name an image; images of one name are of one patient, "" and None are unknown.

    Raises:
        IsnetError: Kind "weights", when probabilities are not finite.
        ValueError: When the shapes do not belong together.
    """
    p, given = checked_probabilities(probabilities, classes), np.asarray(labels)
    names = [""] * len(p) if patients is None else list(patients)
    if not len(given) == len(names) == len(p):
        raise ValueError(f"{len(p)} images, {len(given)} labels, {len(names)} patients")
    if given.ndim == 1:
        rows = np.flatnonzero(given >= 0)
        truth = given[rows, None] == np.arange(len(classes))
        known = np.ones_like(truth)
        chosen = p[rows].argmax(axis=1)[:, None] == np.arange(len(classes))
    else:
        found = given.astype(np.float64)
        rows = np.flatnonzero(~np.isnan(found).all(axis=1))
        truth, known = found[rows] == 1, ~np.isnan(found[rows])
        chosen = decide(p[rows], thresholds, len(classes))
    task = "multiclass" if given.ndim == 1 else "multilabel"
    clusters = number_patients([names[i] for i in rows])
    return Sample(tuple(classes), task, p[rows], truth, known, chosen, clusters, rows)


def number_patients(names: Sequence[Hashable]) -> NDArray[np.int64]:
    """Numbers of patients [n] as they come, whatever their names: pseudonyms differ between runs.

    Args:
        names: Patient of each image; "" or None: unknown, a patient of its own.
    """
    numbers: dict[Hashable, int] = {}
    keys = [name if name not in ("", None) else ("image", i) for i, name in enumerate(names)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


@dataclass(frozen=True)
class Counts:
    """What count scores are made of; each [..., K], counts or shares of a whole.

    Attributes:
        tp: Images of the class that were predicted as it.
        positive: Images of the class.
        chosen: Images predicted as it.
        known: Images whose class or label is known.
    """

    tp: Floats
    positive: Floats
    chosen: Floats
    known: Floats


def count_outcomes(sample: Sample, weights: NDArray[Any] | None = None) -> Counts:
    """Counts [K] of a sample; or [D, K], when each of D draws gives each image a weight [D, N]."""
    w = np.ones((1, len(sample))) if weights is None else np.asarray(weights, np.float64)
    parts = (
        sample.truth & sample.chosen,
        sample.truth,
        sample.chosen & sample.known,
        sample.known,
    )
    found = [w @ part.astype(np.float64) for part in parts]
    return Counts(*(part[0] if weights is None else part for part in found))


def compute_rates(counts: Counts) -> dict[str, Floats]:
    """`COUNTED` rates, each [..., K]; NaN where the denominator is 0.

    Precision tp / predicted, recall tp / positive, specificity tn / negative,
    F1 2 tp / (positive + predicted), and no F1 without positives.
    """
    tp, positive, chosen, known = counts.tp, counts.positive, counts.chosen, counts.known
    negative = known - positive
    return {
        "precision": _ratio(tp, chosen, positive > 0),
        "recall": _ratio(tp, positive, positive > 0),
        "specificity": _ratio(negative - chosen + tp, negative, negative > 0),
        "f1": _ratio(2 * tp, positive + chosen, positive > 0),
    }


def _ratio(over: Floats, under: Floats, where: Bools) -> Floats:
    result: Floats = np.full(np.shape(over), np.nan)
    np.divide(over, under, out=result, where=where & (under > 0))
    return result


def count_scores(
    counts: Counts, rates: Mapping[str, Floats], sample: Sample, valid: Mapping[Path, Any]
) -> dict[Path, Floats]:
    """Every count score of draws [D, K] by its path, each [D].

    Macro means are over the classes that have a value in the set itself (`valid`), so that the
    draws are of the very score that they surround; NaN in draws where one of them has none.
    """
    tn = counts.known - counts.positive - counts.chosen + counts.tp
    # Multi-class: right are the true positives; multi-label: every label decided rightly.
    single = sample.task == "multiclass"
    right = counts.tp if single else counts.tp + tn
    whole = counts.known[..., 0] if single else counts.known.sum(-1)
    found: dict[Path, Floats] = {}
    if valid.get(("accuracy",)) is not None:
        found["accuracy",] = right.sum(-1) / whole
    for name, values in rates.items():
        found |= spread_over_classes(name, values, sample.classes, valid)
    balanced = rates["recall"] if single else (rates["recall"] + rates["specificity"]) / 2
    needed = ("recall",) if single else ("recall", "specificity")
    mask = [all(_has(valid, c, rate) for rate in needed) for c in sample.classes]
    if any(mask):
        found["balanced_accuracy",] = balanced[..., mask].mean(-1)
    return found


def spread_over_classes(
    rate: str, values: Floats, classes: Sequence[str], valid: Mapping[Path, Any]
) -> dict[Path, Floats]:
    """A rate [D, K] as one entry a class and the macro mean; classes without value left out."""
    mask = [_has(valid, name, rate) for name in classes]
    found: dict[Path, Floats] = {
        ("per_class", name, rate): values[..., k] for k, name in enumerate(classes) if mask[k]
    }
    if any(mask):
        found["macro", rate] = values[..., mask].mean(-1)
    return found


def _has(valid: Mapping[Path, Any], name: str, rate: str) -> bool:
    return valid.get(("per_class", name, rate)) is not None


def read_values(metrics: Mapping[str, Any]) -> dict[Path, float | None]:
    """The figures of `scores` by their paths; None where there is none."""
    rates = (*COUNTED, *AREAS)
    found: dict[Path, float | None] = {
        (name,): metrics[name] for name in ("accuracy", "balanced_accuracy")
    }
    found |= {("macro", rate): metrics["macro"][rate] for rate in rates}
    for name, entry in metrics["per_class"].items():
        found |= {("per_class", name, rate): entry[rate] for rate in rates}
    return found
