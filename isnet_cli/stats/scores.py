"""Classification scores of one test set: counts, rates, areas; null with a reason where undefined.

A rate with an empty denominator has no value: it is None and the dictionary's ``why`` says for
each such name what was missing. A class without images in the set is left out of the macro means
(it is never counted as 0), and ``why`` names it there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isnet_cli.errors import IsnetError

RATES: tuple[str, ...] = ("precision", "recall", "specificity", "f1", "auc", "ap")
NO_IMAGES = "no labelled image in this set"
DEFAULT_THRESHOLD = 0.5

_Bools = NDArray[np.bool_]
_Floats = NDArray[np.float64]
THRESHOLD_RULE = "best F1 on the validation images"


def scores(
    probabilities: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    thresholds: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Scores of predictions against labels, as a JSON-able dictionary.

    Multi-class (`labels` [N]): the predicted class is the most probable one, the first of equals;
    each class is scored one-vs-rest. Multi-label (`labels` [N, K]): label k is predicted where its
    probability reaches ``thresholds[k]``; unknown labels are left out of that label's scores.

    Args:
        probabilities: [N, K], in [0, 1], finite.
        labels: Integers [N], -1 for no label; or [N, K] of 0, 1 and NaN (unknown).
        classes: The K names, in the order of the columns.
        thresholds: Multi-label only: [K], in [0, 1]; default 0.5 for each.

    Returns:
        ``task``; ``n`` (labelled images); ``confusion``: counts, rows true and columns predicted
        (multi-label: name -> [[tn, fp], [fn, tp]]); ``accuracy`` (multi-label: share of all known
        labels that were decided rightly); ``balanced_accuracy`` (mean recall; multi-label: mean of
        (recall + specificity) / 2); ``macro`` and ``per_class``: `RATES`, where F1 is
        2 tp / (2 tp + fp + fn), ``auc`` the area under the ROC curve (ties count one half) and
        ``ap`` the average precision sum_i (r_i - r_(i-1)) p_i; ``why``: name -> reason, for each
        None beside it.

    Raises:
        IsnetError: Kind "weights", when probabilities are not finite (a model that diverged).
        ValueError: When shapes or values are outside the ranges above.
    """
    p = checked_probabilities(probabilities, classes)
    truth = np.asarray(labels)
    if len(truth) != len(p):
        raise ValueError(f"labels for {len(truth)} images, probabilities for {len(p)}")
    if truth.ndim == 1:
        if thresholds is not None:
            raise ValueError("thresholds belong to multi-label predictions only")
        return _multiclass(p, truth, classes)
    return _multilabel(p, truth, classes, thresholds)


def decide(probabilities: ArrayLike, thresholds: Sequence[float] | None, count: int) -> _Bools:
    """Which labels [N, K] a multi-label model predicts: probability at or above its threshold."""
    limits = np.full(count, DEFAULT_THRESHOLD) if thresholds is None else np.asarray(thresholds)
    if limits.shape != (count,) or not ((limits >= 0) & (limits <= 1)).all():
        raise ValueError(f"expected {count} thresholds in [0, 1], found {limits.tolist()}")
    decided: _Bools = np.asarray(probabilities) >= limits
    return decided


def roc_points(score: ArrayLike, truth: ArrayLike) -> tuple[list[float], list[float]] | None:
    """The ROC curve of one class: false- and true-positive rates, both rising from 0 to 1.

    Args:
        score: [n], higher for the class; points on a straight line between others are left out.
        truth: [n], True, False; other than bool: 1, 0 and NaN (left out).

    Returns:
        Two lists of one length, or None when there are no positives or no negatives.
    """
    from sklearn.metrics import roc_curve

    values, labels = np.asarray(score, np.float64), np.asarray(truth, np.float64)
    values, labels = values[~np.isnan(labels)], labels[~np.isnan(labels)]
    if not 0 < labels.sum() < len(labels):
        return None
    fpr, tpr, _ = roc_curve(labels, values)
    return fpr.tolist(), tpr.tolist()


def pr_points(score: ArrayLike, truth: ArrayLike) -> tuple[list[float], list[float]] | None:
    """The precision-recall curve of one class: recall rising from 0 to 1, precision beside it.

    Each precision holds from its recall back to the one before it; the first is that of the
    highest probability. The area below the steps is the average precision.

    Args:
        score: [n], higher for the class.
        truth: As in `roc_points`.

    Returns:
        Two lists of one length, or None when there are no positives.
    """
    from sklearn.metrics import precision_recall_curve

    values, labels = np.asarray(score, np.float64), np.asarray(truth, np.float64)
    values, labels = values[~np.isnan(labels)], labels[~np.isnan(labels)]
    if not labels.sum():
        return None
    precision, recall, _ = precision_recall_curve(labels, values)
    # Falling thresholds; images without a new positive change no step.
    precision, recall = precision[-2::-1], recall[-2::-1]
    new = np.r_[recall[0] > 0, np.diff(recall) > 0]
    precision, recall = precision[new], recall[new]
    return [0.0, *recall.tolist()], [float(precision[0]), *precision.tolist()]


def checked_probabilities(probabilities: ArrayLike, classes: Sequence[str]) -> _Floats:
    """Probabilities [N, K] as float64, refused unless finite and in [0, 1].

    Raises:
        IsnetError: Kind "weights", when they are not finite (a model that diverged).
        ValueError: When shape or range are wrong.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or p.shape[1] != len(classes) or not classes:
        raise ValueError(f"expected probabilities [N, {len(classes)}], found {list(p.shape)}")
    finite = np.isfinite(p).all(axis=1)
    if not finite.all():
        raise IsnetError(
            "weights",
            f"predictions: {int((~finite).sum())} of {len(p)} images got NaN or infinity, "
            "expected probabilities in [0, 1]",
            fix="train the model again with a lower train.optimizer.lr, or with train.clip_norm: 1",
        )
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"probabilities span [{p.min():g}, {p.max():g}], expected [0, 1]")
    return p


def _multiclass(p: _Floats, labels: NDArray[Any], classes: Sequence[str]) -> dict[str, Any]:
    if not np.isin(labels, np.arange(-1, len(classes))).all():
        raise ValueError(f"labels must be class indices -1 to {len(classes) - 1}")
    p, truth = p[labels >= 0], labels[labels >= 0].astype(np.int64)
    predicted = p.argmax(axis=1)
    n = len(truth)
    per_class = {
        name: _class_scores(name, truth == k, predicted == k, p[:, k])
        for k, name in enumerate(classes)
    }
    macro = _macro(per_class)
    size = len(classes)
    counts = np.bincount(truth * size + predicted, minlength=size**2).reshape(size, size)
    result = {
        "task": "multiclass",
        "n": n,
        "confusion": counts.tolist(),
        "accuracy": float((predicted == truth).mean()) if n else None,
        "balanced_accuracy": macro["recall"],
        "macro": macro,
        "per_class": per_class,
    }
    return _with_reasons(result, macro)


def _multilabel(
    p: _Floats, labels: NDArray[Any], classes: Sequence[str], thresholds: Sequence[float] | None
) -> dict[str, Any]:
    truth = np.asarray(labels, np.float64)
    if truth.shape != p.shape or not (np.isnan(truth) | np.isin(truth, (0.0, 1.0))).all():
        raise ValueError(f"expected labels {list(p.shape)} of 0, 1 and NaN")
    known = ~np.isnan(truth)
    decided = decide(p, thresholds, len(classes))
    right = (decided == (truth == 1)) & known
    per_class, confusion, balanced = {}, {}, []
    for k, name in enumerate(classes):
        rows = known[:, k]
        positive, chosen = truth[rows, k] == 1, decided[rows, k]
        entry = per_class[name] = _class_scores(name, positive, chosen, p[rows, k])
        confusion[name] = [
            [int((~positive & ~chosen).sum()), int((~positive & chosen).sum())],
            [int((positive & ~chosen).sum()), int((positive & chosen).sum())],
        ]
        if entry["recall"] is not None and entry["specificity"] is not None:
            balanced.append((entry["recall"] + entry["specificity"]) / 2)
    macro = _macro(per_class)
    result = {
        "task": "multilabel",
        "n": int(known.any(axis=1).sum()),
        "confusion": confusion,
        "accuracy": float(right.sum() / known.sum()) if known.any() else None,
        "balanced_accuracy": float(np.mean(balanced)) if balanced else None,
        "macro": macro,
        "per_class": per_class,
    }
    return _with_reasons(result, macro)


def _class_scores(name: str, truth: _Bools, chosen: _Bools, score: _Floats) -> dict[str, Any]:
    """One class against the rest: `truth`, `chosen` and `score`, all [n]."""
    n, positives, predicted = len(truth), int(truth.sum()), int(chosen.sum())
    tp = int((truth & chosen).sum())
    tn = n - positives - predicted + tp
    values: dict[str, Any] = dict.fromkeys(RATES)
    why: dict[str, str] = {}
    if n == 0:
        why = dict.fromkeys(RATES, NO_IMAGES)
    elif positives == 0:
        reason = f"no image of class '{name}' in this set"
        why = dict.fromkeys((r for r in RATES if r != "specificity"), reason)
    else:
        values["recall"] = tp / positives
        values["f1"] = 2 * tp / (predicted + positives)
        if predicted:
            values["precision"] = tp / predicted
        else:
            why["precision"] = f"no image was predicted as '{name}'"
    if 0 < n == positives:
        why |= dict.fromkeys(
            ("specificity", "auc", "ap"), f"every image of this set is of class '{name}'"
        )
    elif n:
        values["specificity"] = tn / (n - positives)
    if 0 < positives < n:
        values["auc"], values["ap"] = _areas(truth, score)
    entry = {"n": n, "positives": positives, **values}
    return {**entry, "why": why} if why else entry


def _areas(truth: _Bools, score: _Floats) -> tuple[float, float]:
    """Area under the ROC curve and average precision."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return float(roc_auc_score(truth, score)), float(average_precision_score(truth, score))


def _macro(per_class: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Unweighted mean of each rate over the classes where it has a value."""
    macro: dict[str, Any] = {}
    why: dict[str, str] = {}
    for rate in RATES:
        values = [entry[rate] for entry in per_class.values() if entry[rate] is not None]
        macro[rate] = float(np.mean(values)) if values else None
        reasons = dict.fromkeys(
            entry["why"][rate] for entry in per_class.values() if entry[rate] is None
        )
        if reasons:
            why[rate] = f"mean of {len(values)} of {len(per_class)} classes: " + "; ".join(reasons)
    return {**macro, "why": why} if why else macro


def _with_reasons(result: dict[str, Any], macro: dict[str, Any]) -> dict[str, Any]:
    """Adds ``why`` for the whole set's own scores that have no value or leave a class out."""
    why: dict[str, str] = {}
    if result["accuracy"] is None:
        why["accuracy"] = NO_IMAGES
    reasons = macro.get("why", {})
    source = "recall" if "recall" in reasons else "specificity"
    if source in reasons:
        why["balanced_accuracy"] = reasons[source]
    return {**result, "why": why} if why else result


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
    return {
        "thresholds": limits,
        "threshold_rule": {"rule": THRESHOLD_RULE, "f1": best, "why": why},
    }


def _best(score: _Floats, positive: _Bools) -> tuple[float, float]:
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
