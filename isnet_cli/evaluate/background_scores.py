"""What a classifier uses, by its behaviour: the same images whole, in parts, on other backgrounds.

Variants of each image: ``full``; ``lungs_only`` (background black); ``lungs_removed`` (lungs
black); ``other_class`` and ``same_class`` (background of another image of that class). Cleaned
maps alone prove nothing (Viviano et al., "Saliency is a possible red herring when diagnosing poor
generalization", ICLR 2021); the gap between the two swaps is the one of Xiao et al., "Noise or
signal: the role of image backgrounds in object recognition", ICLR 2021 (Mixed-Same - Mixed-Rand).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.bootstrap import bootstrap_weights, percentile_interval
from isnet_cli.stats.intervals import empty_cell, interval_cells, nest_cells
from isnet_cli.stats.posterior import LEVEL, posterior_interval
from isnet_cli.stats.sample import make_sample, number_patients, read_values
from isnet_cli.stats.scores import decide, scores
from isnet_cli.stats.shift import NO_VALUE, Test, paired_differences

FULL, ONLY, REMOVED = "full", "lungs_only", "lungs_removed"
OTHER, SAME = "other_class", "same_class"
VARIANTS: tuple[str, ...] = (FULL, ONLY, REMOVED, OTHER, SAME)
NO_IMAGES = "no image of this set has both a label and a trusted lung mask"
NO_PARTNER: Mapping[str, str] = {
    OTHER: "no image of this set has a partner of another class",
    SAME: "no image of this set has a partner of the same class",
}
RATES = ("f1", "auc")  # macro means whose gap is reported

_Floats = NDArray[np.float64]
_Bools = NDArray[np.bool_]
PRIORS = {"jeffreys": 0.5, "uniform": 1.0}  # both parameters of the Beta prior


@dataclass(frozen=True)
class Answers:
    """What the model says of one variant of the images.

    Attributes:
        p: Probabilities [N, K]; 0 where the image has no such variant.
        there: Which images have it, [N]; those without a partner have no swapped background.
    """

    p: _Floats
    there: _Bools

    @staticmethod
    def of(rows: Sequence[Sequence[float] | None], count: int) -> Answers:
        """From one list of `count` probabilities for each image, None where there is none."""
        there = np.array([row is not None for row in rows], bool)
        p = np.array([row or [0.0] * count for row in rows], np.float64)
        return Answers(p.reshape(len(rows), count), there)

    def among(self, chosen: _Bools) -> Answers:
        """The same for the images that are `chosen` [N]."""
        return Answers(self.p[chosen], self.there[chosen])


@dataclass(frozen=True)
class Images:
    """Whose answers are judged, and how.

    Attributes:
        labels: As in `scores`, of N images with a label.
        classes: The K names.
        thresholds: As in `scores`.
        patients: Of each image [N], "" where unknown.
        settings: How intervals are made.
        seed: Of their draws.
    """

    labels: NDArray[Any]
    classes: Sequence[str]
    thresholds: Sequence[float] | None
    patients: Sequence[str]
    settings: Intervals = field(default_factory=Intervals)
    seed: int = 0

    def test(self, answers: Answers, chosen: _Bools) -> Test:
        """Scores of the images that are `chosen` [N]."""
        p, labels = answers.p[chosen], self.labels[chosen]
        people = [patient for patient, kept in zip(self.patients, chosen, strict=True) if kept]
        found = scores(p, labels, self.classes, self.thresholds)
        return Test(found, make_sample(p, labels, self.classes, self.thresholds, people))


def background_reliance(answers: Mapping[str, Answers], images: Images) -> dict[str, Any]:
    """Scores of each variant, flips and gap, with intervals, as a JSON-able dictionary.

    Args:
        answers: Variant -> answers for the N images; all of `VARIANTS`.
        images: Labels, patients and settings.

    Returns:
        ``n``; ``variants``: name -> `scores` of the images that have it, with ``intervals`` as of
        `interval_cells`; ``background_auc``: the cell of the macro AUC of ``lungs_removed``;
        ``flips``: `flip_rate`; ``gap``: ``n`` images with both partners, and the cells of macro F1
        and macro AUC on ``same_class`` minus those on ``other_class`` for these images; ``why``
        where there is no value.

    Raises:
        IsnetError: As `scores`.
    """
    if not len(images.labels):
        return {"n": 0, "why": NO_IMAGES}
    variants = {name: _variant(name, answers[name], images) for name in VARIANTS}
    return {
        "n": len(images.labels),
        "variants": variants,
        "background_auc": variants[REMOVED]["intervals"]["macro"]["auc"],
        "flips": flip_rate(answers[FULL], answers[OTHER], images),
        "gap": _gap(answers, images),
    }


def _variant(name: str, answers: Answers, images: Images) -> dict[str, Any]:
    test = images.test(answers, answers.there)
    found = dict(test.metrics)
    if not answers.there.any():
        found["why"] = {**found.get("why", {}), "n": NO_PARTNER[name]}
    values = read_values(found)
    cells = {path: empty_cell(None, NO_VALUE) for path in values}
    if len(test.sample):
        cells |= interval_cells(test.sample, values, images.settings, images.seed)
    return {
        **found,
        "intervals": {"level": LEVEL, **nest_cells({path: cells[path] for path in values})},
    }


def summarise_background(found: Mapping[str, Any]) -> dict[str, Any]:
    """The main figures of `background_reliance`: macro AUC per variant, flip rate, AUC's gap."""
    if not found["n"]:
        return {"n": 0, "why": found["why"]}
    areas = {name: entry["macro"]["auc"] for name, entry in found["variants"].items()}
    gap = found["gap"]["auc"]["value"]
    return {"n": found["n"], "auc": areas, "flips": found["flips"]["rate"], "gap": gap}


def find_flips(full: _Floats, other: _Floats, thresholds: Sequence[float] | None) -> _Bools:
    """Whether each decision differs between two variants.

    Args:
        full: Probabilities [N, K].
        other: Of the same images [N, K].
        thresholds: None for multi-class.

    Returns:
        Multi-class: [N, 1], another class is predicted. Multi-label: [N, K], the label's decision
        differs.
    """
    if thresholds is None:
        return np.asarray(full.argmax(axis=1) != other.argmax(axis=1))[:, None]
    count = full.shape[1]
    return np.asarray(decide(full, thresholds, count) != decide(other, thresholds, count))


def flip_rate(full: Answers, other: Answers, images: Images) -> dict[str, Any]:
    """Share of images whose prediction changes on the background of another class.

    Multi-class, per class: among the images of that class. Multi-label: an image flips when any
    label's decision changes; per class: share of images whose decision on that label changes.

    Returns:
        ``n`` (images with a partner), ``count``, ``rate``, ``low``, ``high``, ``method`` (None with
        ``why`` when n is 0), and ``per_class``: name -> the same. The interval is a Beta posterior;
        where patients have several images, a bootstrap by patient.
    """
    there = other.there
    changed = find_flips(full.p, other.p, images.thresholds)
    per_class = {}
    for k, name in enumerate(images.classes):
        if images.thresholds is None:
            among, column = there & (np.asarray(images.labels) == k), changed[:, 0]
            why = f"no image of class '{name}' has a partner of another class"
        else:
            among, column, why = there, changed[:, k], NO_PARTNER[OTHER]
        per_class[name] = _share(column, among, why, images)
    whole = _share(np.asarray(changed.any(axis=1)), there, NO_PARTNER[OTHER], images)
    return {**whole, "per_class": per_class}


def _share(changed: _Bools, among: _Bools, why: str, images: Images) -> dict[str, Any]:
    n, count = int(among.sum()), int((changed & among).sum())
    if not n:
        empty = dict.fromkeys(("rate", "low", "high", "method"))
        return {"n": 0, "count": 0, **empty, "why": why}
    people = [patient for patient, kept in zip(images.patients, among, strict=True) if kept]
    cell = share_interval(changed[among], people, images.settings, images.seed)
    return {"n": n, "count": count, "rate": count / n, **cell}


def _gap(answers: Mapping[str, Answers], images: Images) -> dict[str, Any]:
    both = answers[OTHER].there & answers[SAME].there
    if not both.any():
        lacking = SAME if answers[OTHER].there.any() else OTHER
        return {"n": 0, **{rate: empty_cell(None, NO_PARTNER[lacking]) for rate in RATES}}
    other, same = (images.test(answers[name], both) for name in (OTHER, SAME))
    found = paired_differences(other, same, images.settings, images.seed)["macro"]
    for rate in RATES:
        if found[rate]["value"] is None:
            found[rate] = empty_cell(None, same.metrics["macro"]["why"][rate])
    return {"n": int(both.sum()), **{rate: found[rate] for rate in RATES}}


def share_interval(
    chosen: NDArray[np.bool_], patients: Sequence[str], settings: Intervals, seed: int
) -> dict[str, Any]:
    """95 % interval of the share of images that are chosen.

    Independent images: the posterior Beta(a + count, a + n - count), its prior by
    ``settings.prior``. Patients with several images: percentiles of the share over draws of
    patients; where every draw is alike (no image or all), the posterior, with patients for images.

    Args:
        chosen: [n], at least one.
        patients: [n]; images without one ("") are each their own.
        settings: Method, prior, shape and numbers of draws.
        seed: Of the draws.

    Returns:
        ``low``, ``high``, ``method`` (``beta`` or ``bootstrap``).
    """
    people = number_patients(patients)
    clusters = int(people.max()) + 1
    repeated = clusters < len(chosen)
    closed = settings.method == "closed" or (settings.method == "auto" and not repeated)
    alike = bool(chosen.all() or not chosen.any())
    if not closed and not alike and clusters > 1:
        shares = [
            w @ chosen / w.sum(axis=1) for w in bootstrap_weights(people, settings.bootstrap, seed)
        ]
        low, high = percentile_interval(np.concatenate(shares), clusters)
        return {"low": low, "high": high, "method": "bootstrap"}
    n = len(chosen) if closed else clusters
    count = float(chosen.mean() * n)
    prior = PRIORS[settings.prior]
    rng = np.random.default_rng(seed)
    low, high = posterior_interval(
        rng.beta(prior + count, prior + n - count, settings.draws), settings.shape
    )
    return {"low": low, "high": high, "method": "beta"}
