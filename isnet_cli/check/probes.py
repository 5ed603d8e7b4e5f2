"""How well a small probe answers a question from features: cross-validated ROC-AUC.

The probe is a logistic regression; folds keep patients together. The AUC counts pairs of images of
the same fold only, so that differences between the folds' models neither help nor harm, and, on
request, pairs of the same stratum only: what predicts the class *within* one hospital. Its interval
is a bootstrap by patient, with the probes' answers as they are.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
FEWEST = 10  # images of a class that a probe needs; from FOLDS patients or more
STRENGTH = 0.03  # C of the logistic regression: inverse weight of its penalty
DRAWS = 500  # of the bootstrap

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Question:
    """What a probe should answer.

    Attributes:
        name: Of the question.
        classes: Possible answers, K.
        answers: Index of the right answer of each image [N], -1 where it is unknown.
    """

    name: str
    classes: tuple[str, ...]
    answers: Ints


def run_probe(
    features: NDArray[np.float32],
    questions: Sequence[Question],
    patients: Sequence[str],
    strata: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """Cross-validated AUC of the answers to `questions`, as a JSON-able dictionary.

    Args:
        features: [N, F].
        questions: One; or several with two answers each (labels of one image), whose AUCs are
            averaged.
        patients: Of each image [N]; images of one patient share a fold.
        strata: Of each image [N], for the AUC within strata.
        seed: Of folds and bootstrap.

    Returns:
        ``n``, ``auc`` (mean over classes, one against the rest), ``low`` and ``high`` (95 %
        interval), ``per_class``; ``within``: the same of pairs of one stratum, for the classes
        that have such pairs; ``left_out``: class -> images, for classes with too few; ``why``
        beside each None.
    """
    rng = np.random.default_rng(seed)
    weights = _draw_patient_weights(patients, rng)
    strata_index = np.unique(np.asarray(strata, dtype=str), return_inverse=True)[1]
    whole, within = [], []
    per_class: dict[str, float | None] = {}
    inside: dict[str, float] = {}
    left_out: dict[str, int] = {}
    used = np.zeros(len(features), bool)
    for question in questions:
        kept, few = _drop_rare_classes(question, patients)
        several = len(questions) > 1
        left_out |= {f"{question.name}={k}" if several else k: n for k, n in few.items()}
        if len(kept.classes) < 2:
            continue
        rows = np.flatnonzero(kept.answers >= 0)
        used[rows] = True
        p, folds = _predict_out_of_fold(
            features[rows], kept.answers[rows], [patients[int(i)] for i in rows], seed
        )
        chosen = weights[:, rows]
        truth = kept.answers[rows]
        single = measure_areas(p, truth, folds, chosen)
        whole.append(_average_classes(single))
        strata_fold = folds * (strata_index.max() + 1) + strata_index[rows]
        paired = measure_areas(p, truth, strata_fold, chosen)
        within.append(_average_classes(paired))
        names = (question.name,) if several else kept.classes
        per_class |= {name: _write_number(single[k, 0]) for k, name in enumerate(names)}
        inside |= {
            name: float(paired[k, 0]) for k, name in enumerate(names) if not np.isnan(paired[k, 0])
        }
    found = {"n": int(used.sum()), **_summarise_draws(whole, _explain_few(questions, left_out))}
    why = "no two answers occur in one stratum"
    return {
        **found,
        "per_class": per_class,
        "within": {**_summarise_draws(within, why), "per_class": inside},
        "left_out": left_out,
    }


def measure_areas(p: Floats, truth: Ints, strata: Ints, weights: Floats) -> Floats:
    """Area under the ROC curve of each class against the rest, over pairs within strata.

    The share of pairs (an image of the class, another image, of one stratum) in which the image of
    the class has the higher score, ties one half; each pair counts the product of its images'
    weights.

    Args:
        p: Scores [N, K].
        truth: Class index [N].
        strata: [N].
        weights: [D, N], D ways to count the images.

    Returns:
        [K, D]; NaN where no stratum has a pair.
    """
    draws, count = len(weights), p.shape[1]
    right, pairs = np.zeros((count, draws)), np.zeros((count, draws))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        for k in range(count):
            good, all_pairs = _weigh_pairs(p[rows, k], truth[rows] == k, weights[:, rows])
            right[k] += good
            pairs[k] += all_pairs
    return np.divide(right, pairs, out=np.full_like(right, np.nan), where=pairs > 0)


def _weigh_pairs(
    score: Floats, positive: NDArray[np.bool_], weights: Floats
) -> tuple[Floats, Floats]:
    """Weight of the pairs in the right order, and of all pairs, [D] each."""
    order = np.argsort(score, kind="stable")
    score, positive, weights = score[order], positive[order], weights[:, order]
    plus, minus = weights * positive, weights * ~positive
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(minus, axis=1)], axis=1)
    first = np.searchsorted(score, score, side="left")  # ties: half of those not strictly below
    last = np.searchsorted(score, score, side="right")
    good = (plus * (below[:, first] + below[:, last]) / 2).sum(axis=1)
    return good, plus.sum(axis=1) * minus.sum(axis=1)


def _draw_patient_weights(patients: Sequence[str], rng: np.random.Generator) -> Floats:
    """How often each image is drawn: once each, then `DRAWS` bootstrap draws of patients."""
    groups = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]
    n = int(groups.max()) + 1 if len(groups) else 0
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) if n else np.zeros((DRAWS, 0))
    return np.concatenate([np.ones((1, len(groups))), drawn[:, groups]]).astype(np.float64)


def _drop_rare_classes(
    question: Question, patients: Sequence[str]
) -> tuple[Question, dict[str, int]]:
    """The question with the classes that have enough images and patients, and the other images."""
    people: dict[int, set[str]] = {}
    for answer, patient in zip(question.answers.tolist(), patients, strict=True):
        people.setdefault(answer, set()).add(patient)
    images = Counter(question.answers.tolist())
    kept, few = [], {}
    for k, name in enumerate(question.classes):
        if images[k] >= FEWEST and len(people[k]) >= FOLDS:
            kept.append(k)
        else:
            few[name] = images[k]
    index = np.full(len(question.classes) + 1, -1, np.int64)
    index[kept] = np.arange(len(kept))
    classes = tuple(question.classes[k] for k in kept)
    return Question(question.name, classes, index[question.answers]), few


def _predict_out_of_fold(
    features: NDArray[np.float32], answers: Ints, patients: Sequence[str], seed: int
) -> tuple[Floats, Ints]:
    """Probabilities [N, K] by probes that did not see the image's patient, and folds [N]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    p = np.zeros((len(answers), int(answers.max()) + 1))
    folds = np.zeros(len(answers), np.int64)
    divide = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is enough for a probe
        for fold, (learn, ask) in enumerate(divide.split(features, answers, patients)):
            folds[ask] = fold
            if len(np.unique(answers[learn])) < 2:
                continue  # nothing to tell apart: all scores of this fold are equal
            model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=200))
            model.fit(features[learn], answers[learn])
            p[np.ix_(ask, model.classes_)] = model.predict_proba(features[ask])
    return p, folds


def _average_classes(areas_of_classes: Floats) -> Floats:
    """Mean over classes [D], of those that have a value; NaN where none has."""
    there = ~np.isnan(areas_of_classes)
    total = np.where(there, areas_of_classes, 0.0).sum(axis=0)
    count = there.sum(axis=0)
    means: Floats = np.full(total.shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _summarise_draws(draws: Sequence[Floats], why: str) -> dict[str, Any]:
    """Value and interval of the mean over questions; `draws` are [1 + `DRAWS`] each."""
    means = _average_classes(np.stack(draws)) if draws else np.array([np.nan])
    if np.isnan(means[0]):
        return {"auc": None, "low": None, "high": None, "why": why}
    low, high = np.nanquantile(means[1:], [0.025, 0.975])
    return {"auc": _write_number(means[0]), "low": _write_number(low), "high": _write_number(high)}


def _write_number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _explain_few(questions: Sequence[Question], left_out: dict[str, int]) -> str:
    if not questions:
        return "nothing to ask"
    return (
        f"fewer than two answers with {FEWEST} images of {FOLDS} patients"
        + (f" (too few: {', '.join(f'{name} {n}' for name, n in left_out.items())})"
           if left_out else "")
    )  # fmt: skip
