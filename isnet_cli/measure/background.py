"""What a classifier uses, by its behaviour: the same films whole, in parts, on other backgrounds.

Variants of each film: ``full``; ``lungs_only`` (background black); ``lungs_removed`` (lungs black);
``other_class`` and ``same_class`` (background of another film of that class). Cleaned maps alone
prove nothing (Viviano et al., "Saliency is a possible red herring when diagnosing poor
generalization", ICLR 2021); the gap between the two swaps is the one of Xiao et al., "Noise or
signal: the role of image backgrounds in object recognition", ICLR 2021 (Mixed-Same - Mixed-Rand).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.measure.scores import decide, scores

FULL, ONLY, REMOVED = "full", "lungs_only", "lungs_removed"
OTHER, SAME = "other_class", "same_class"
VARIANTS: tuple[str, ...] = (FULL, ONLY, REMOVED, OTHER, SAME)
NO_FILMS = "no film of this set has both a label and a trusted lung mask"
NO_PARTNER: Mapping[str, str] = {
    OTHER: "no film of this set has a partner of another class",
    SAME: "no film of this set has a partner of the same class",
}
RATES = ("f1", "auc")  # macro means whose gap is reported

_Floats = NDArray[np.float64]
_Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """What the model says of one variant of the films.

    Attributes:
        p: Probabilities [N, K]; 0 where the film has no such variant.
        there: Which films have it, [N]; those without a partner have no swapped background.
    """

    p: _Floats
    there: _Bools

    @staticmethod
    def of(rows: Sequence[Sequence[float] | None], count: int) -> Answers:
        """From one list of `count` probabilities for each film, None where there is none."""
        there = np.array([row is not None for row in rows], bool)
        p = np.array([row or [0.0] * count for row in rows], np.float64)
        return Answers(p.reshape(len(rows), count), there)

    def among(self, chosen: _Bools) -> Answers:
        """The same for the films that are `chosen` [N]."""
        return Answers(self.p[chosen], self.there[chosen])


def background_reliance(
    answers: Mapping[str, Answers],
    labels: NDArray[Any],
    classes: Sequence[str],
    thresholds: Sequence[float] | None,
) -> dict[str, Any]:
    """Scores of each variant, flips and gap, as a JSON-able dictionary.

    Args:
        answers: Variant -> answers for N films; all of `VARIANTS`.
        labels: As in `scores`, of films with a label.
        classes: The K names.
        thresholds: As in `scores`.

    Returns:
        ``n``; ``variants``: name -> `scores` of the films that have it; ``background_auc``: macro
        AUC of ``lungs_removed``; ``flips``: `flip_rate`; ``gap``: ``n`` films with both partners,
        and macro F1 and macro AUC on ``same_class`` minus those on ``other_class`` for these films;
        ``why`` beside each None.

    Raises:
        IsnetError: As `scores`.
    """
    n = len(labels)
    if not n:
        return {"n": 0, "why": NO_FILMS}
    variants = {}
    for name in VARIANTS:
        there = answers[name].there
        entry = scores(answers[name].p[there], labels[there], classes, thresholds)
        if not there.any():
            entry["why"] = {**entry.get("why", {}), "n": NO_PARTNER[name]}
        variants[name] = entry
    return {
        "n": n,
        "variants": variants,
        "background_auc": variants[REMOVED]["macro"]["auc"],
        "flips": flip_rate(answers[FULL], answers[OTHER], labels, classes, thresholds),
        "gap": _gap(answers, labels, classes, thresholds),
    }


def brief(found: Mapping[str, Any]) -> dict[str, Any]:
    """The main figures of `background_reliance`: macro AUC per variant, flip rate, AUC's gap."""
    if not found["n"]:
        return {"n": 0, "why": found["why"]}
    areas = {name: entry["macro"]["auc"] for name, entry in found["variants"].items()}
    return {
        "n": found["n"], "auc": areas, "flips": found["flips"]["rate"], "gap": found["gap"]["auc"]
    }  # fmt: skip


def flips(full: _Floats, other: _Floats, thresholds: Sequence[float] | None) -> _Bools:
    """Whether each decision differs between two variants.

    Args:
        full: Probabilities [N, K].
        other: Of the same films [N, K].
        thresholds: None for multi-class.

    Returns:
        Multi-class: [N, 1], another class is predicted. Multi-label: [N, K], the label's decision
        differs.
    """
    if thresholds is None:
        return np.asarray(full.argmax(axis=1) != other.argmax(axis=1))[:, None]
    count = full.shape[1]
    return np.asarray(decide(full, thresholds, count) != decide(other, thresholds, count))


def flip_rate(
    full: Answers,
    other: Answers,
    labels: NDArray[Any],
    classes: Sequence[str],
    thresholds: Sequence[float] | None,
) -> dict[str, Any]:
    """Share of films whose prediction changes on the background of another class.

    Multi-class, per class: among the films of that class. Multi-label: a film flips when any
    label's decision changes; per class: share of films whose decision on that label changes.

    Returns:
        ``n`` (films with a partner), ``count``, ``rate`` (None with ``why`` when n is 0), and
        ``per_class``: name -> the same.
    """
    there = other.there
    changed = flips(full.p, other.p, thresholds)
    per_class = {}
    for k, name in enumerate(classes):
        if thresholds is None:
            among, column = there & (np.asarray(labels) == k), changed[:, 0]
            why = f"no film of class '{name}' has a partner of another class"
        else:
            among, column, why = there, changed[:, k], NO_PARTNER[OTHER]
        per_class[name] = _share(column, among, why)
    any_changed = np.asarray(changed.any(axis=1))
    return {**_share(any_changed, there, NO_PARTNER[OTHER]), "per_class": per_class}


def _share(changed: _Bools, among: _Bools, why: str) -> dict[str, Any]:
    n, count = int(among.sum()), int((changed & among).sum())
    if not n:
        return {"n": 0, "count": 0, "rate": None, "why": why}
    return {"n": n, "count": count, "rate": count / n}


def _gap(
    answers: Mapping[str, Answers],
    labels: NDArray[Any],
    classes: Sequence[str],
    thresholds: Sequence[float] | None,
) -> dict[str, Any]:
    both = answers[OTHER].there & answers[SAME].there
    if not both.any():
        lacking = SAME if answers[OTHER].there.any() else OTHER
        why = dict.fromkeys(RATES, NO_PARTNER[lacking])
        return {"n": 0, **dict.fromkeys(RATES), "why": why}
    same, other = (
        scores(answers[name].p[both], labels[both], classes, thresholds)["macro"]
        for name in (SAME, OTHER)
    )
    found: dict[str, Any] = {"n": int(both.sum())}
    why = {}
    for rate in RATES:
        # the same films and labels: a mean that is missing is missing on both sides
        found[rate] = None if same[rate] is None else same[rate] - other[rate]
        if same[rate] is None:
            why[rate] = same["why"][rate]
    return {**found, "why": why} if why else found
