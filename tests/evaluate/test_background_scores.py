"""Background reliance against loops over images and pairs, and where a value does not exist."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from isnet_cli.config.schema import Intervals
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate.background_scores import (
    FULL,
    NO_IMAGES,
    NO_PARTNER,
    ONLY,
    OTHER,
    REMOVED,
    SAME,
    VARIANTS,
    Answers,
    Images,
    background_reliance,
    flip_rate,
    share_interval,
    summarise_background,
)
from isnet_cli.stats.bootstrap import bootstrap_weights
from isnet_cli.stats.intervals import interval_cells
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores
from isnet_cli.stats.shift import Test, paired_differences

CLASSES = ["normal", "sick", "other"]


def auc(score: list[float], truth: list[bool]) -> float:
    """Share of pairs in the right order, ties one half."""
    pairs = [(a, b) for a, t in zip(score, truth, strict=True) if t
             for b, u in zip(score, truth, strict=True) if not u]  # fmt: skip
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)


def f1(predicted: list[int], labels: list[int], k: int) -> float:
    tp = sum(p == t == k for p, t in zip(predicted, labels, strict=True))
    return 2 * tp / (predicted.count(k) + labels.count(k))


def judged(
    labels: Any, classes: list[str], thresholds: list[float] | None = None, patients: Any = None
) -> Images:
    people = [f"p{i}" for i in range(len(labels))] if patients is None else patients
    return Images(np.asarray(labels), classes, thresholds, people, Intervals(draws=20_000), 0)


def random_answers(
    rng: np.random.Generator, n: int, missing: tuple[int, ...] = ()
) -> dict[str, Answers]:
    found = {}
    for name in VARIANTS:
        rows: list[list[float] | None] = rng.dirichlet(np.ones(3), n).round(2).tolist()
        if name == SAME:
            rows = [None if i in missing else row for i, row in enumerate(rows)]
        found[name] = Answers.of(rows, 3)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_figures_equal_loops_over_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, missing = 24, (3, 7, 11)
    labels = np.arange(n) % 3
    answers = random_answers(rng, n, missing)
    found = background_reliance(answers, judged(labels, CLASSES))
    kept = [i for i in range(n) if i not in missing]

    def macro(name: str, images: list[int]) -> tuple[float, float]:
        p, truth = answers[name].p[images], labels[images].tolist()
        predicted = [int(np.argmax(row)) for row in p]
        areas = [auc(p[:, k].tolist(), [t == k for t in truth]) for k in range(3)]
        return sum(areas) / 3, sum(f1(predicted, truth, k) for k in range(3)) / 3

    for name in VARIANTS:
        area, score = macro(name, kept if name == SAME else list(range(n)))
        entry = found["variants"][name]
        assert (entry["macro"]["auc"], entry["macro"]["f1"]) == pytest.approx((area, score))
    assert found["variants"][SAME]["n"] == found["gap"]["n"] == len(kept)
    assert found["background_auc"]["value"] == pytest.approx(macro(REMOVED, list(range(n)))[0])
    same, other = macro(SAME, kept), macro(OTHER, kept)
    assert found["gap"]["auc"]["value"] == pytest.approx(same[0] - other[0])
    assert found["gap"]["f1"]["value"] == pytest.approx(same[1] - other[1])
    for k, name in enumerate(CLASSES):
        images = [i for i in range(n) if labels[i] == k]
        flipped = [answers[FULL].p[i].argmax() != answers[OTHER].p[i].argmax() for i in images]
        assert found["flips"]["per_class"][name]["rate"] == pytest.approx(np.mean(flipped))
    count = sum(entry["count"] for entry in found["flips"]["per_class"].values())
    assert found["flips"]["count"] == count
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def steady(p: list[list[float]]) -> Answers:
    return Answers.of(p, len(p[0]))


def test_a_model_that_looks_at_the_background_alone() -> None:
    labels = np.array([0, 1] * 5)
    right = [[0.9 - 0.8 * t, 0.1 + 0.8 * t] for t in labels]
    wrong = [row[::-1] for row in right]
    even = [[0.5, 0.5]] * 10
    answers = dict(zip(VARIANTS, map(steady, (right, even, right, wrong, right)), strict=True))
    found = background_reliance(answers, judged(labels, ["a", "b"]))
    assert summarise_background(found) == {
        "n": 10, "flips": 1.0, "gap": 1.0,
        "auc": {FULL: 1.0, ONLY: 0.5, REMOVED: 1.0, OTHER: 0.0, SAME: 1.0},
    }  # fmt: skip
    answers = dict(zip(VARIANTS, map(steady, (right, right, even, right, right)), strict=True))
    found = summarise_background(background_reliance(answers, judged(labels, ["a", "b"])))
    assert (found["flips"], found["gap"], found["auc"][REMOVED]) == (0.0, 0.0, 0.5)


def test_several_labels_flip_one_by_one() -> None:
    full = steady([[0.9, 0.1], [0.9, 0.9], [0.1, 0.2]])
    other = Answers.of([[0.9, 0.7], [0.2, 0.9], None], 2)
    labels = np.array([[1, 0], [1, np.nan], [0, 0]])
    found = flip_rate(full, other, judged(labels, ["a", "b"], [0.5, 0.65]))
    assert (found["n"], found["count"], found["rate"]) == (2, 2, 1.0)
    assert found["per_class"]["a"]["rate"] == 0.5
    assert found["per_class"]["b"]["count"] == 1


def test_one_class_has_no_other_and_says_so() -> None:
    p = [[0.6, 0.4], [0.3, 0.7]]
    none = Answers.of([None, None], 2)
    answers = {**dict.fromkeys(VARIANTS, steady(p)), OTHER: none}
    found = background_reliance(answers, judged([0, 0], ["a", "b"]))
    assert found["variants"][FULL]["macro"]["auc"] is None
    assert found["background_auc"]["value"] is None
    assert found["variants"][OTHER]["n"] == 0
    assert found["variants"][OTHER]["why"]["n"] == NO_PARTNER[OTHER]
    assert (found["flips"]["rate"], found["flips"]["why"]) == (None, NO_PARTNER[OTHER])
    assert found["gap"]["n"] == 0
    for rate in ("f1", "auc"):
        assert (found["gap"][rate]["value"], found["gap"][rate]["why"]) == (None, NO_PARTNER[OTHER])
    alone = {**answers, OTHER: steady(p), SAME: none}
    found = background_reliance(alone, judged([0, 1], ["a", "b"]))
    assert found["gap"]["auc"]["why"] == NO_PARTNER[SAME]


def test_a_gap_without_a_score_has_its_reason() -> None:
    p = steady([[0.6, 0.4], [0.3, 0.7]])
    found = background_reliance(dict.fromkeys(VARIANTS, p), judged([0, 0], ["a", "b"]))
    assert found["gap"]["auc"]["value"] is None
    assert "every image" in found["gap"]["auc"]["why"]
    assert found["gap"]["f1"]["value"] == 0.0


def test_no_images() -> None:
    nothing: dict[str, Any] = dict.fromkeys(VARIANTS, Answers.of([], 2))
    found = background_reliance(nothing, judged([], ["a", "b"]))
    assert found == summarise_background(found) == {"n": 0, "why": NO_IMAGES}


def test_a_model_that_diverges_on_a_variant_is_an_error() -> None:
    good = steady([[0.6, 0.4], [0.3, 0.7]])
    bad = steady([[0.6, 0.4], [float("nan"), 0.7]])
    with pytest.raises(IsnetError, match="1 of 2 images got NaN"):
        background_reliance(
            {**dict.fromkeys(VARIANTS, good), REMOVED: bad}, judged([0, 1], ["a", "b"])
        )


def test_intervals_are_those_of_scores_and_differences() -> None:
    rng = np.random.default_rng(8)
    labels = np.arange(60) % 3
    people = [f"p{i // 2}" for i in range(60)]
    answers = random_answers(rng, 60)
    mine = judged(labels, CLASSES, patients=people)
    found = background_reliance(answers, mine)
    tests = {}
    for name in VARIANTS:
        p = answers[name].p
        tests[name] = Test(
            scores(p, labels, CLASSES), make_sample(p, labels, CLASSES, None, people)
        )
        cells = interval_cells(tests[name].sample, tests[name].values, mine.settings, 0)
        assert found["variants"][name]["intervals"]["macro"]["auc"] == cells["macro", "auc"]
        assert found["variants"][name]["intervals"]["macro"]["f1"] == cells["macro", "f1"]
    expected = paired_differences(tests[OTHER], tests[SAME], mine.settings, 0)["macro"]
    for rate in ("f1", "auc"):
        assert found["gap"][rate] == expected[rate]
        assert found["gap"][rate]["low"] < found["gap"][rate]["value"] < found["gap"][rate]["high"]
    assert found["background_auc"] == found["variants"][REMOVED]["intervals"]["macro"]["auc"]
    flipped = found["flips"]
    assert flipped["method"] == "bootstrap"
    assert flipped["low"] < flipped["rate"] < flipped["high"]


def settings(**values: Any) -> Intervals:
    return Intervals(**{"draws": 200_000, "shape": "equal_tails", **values})


def first(n: int, count: int) -> np.ndarray:
    return np.arange(n) < count


def beta_quantiles(a: float, b: float) -> tuple[float, float]:
    """2.5 % and 97.5 % points, by summing the density over a fine grid."""
    x = (np.arange(400_000) + 0.5) / 400_000
    density = np.exp((a - 1) * np.log(x) + (b - 1) * np.log1p(-x))
    below = np.cumsum(density) / density.sum()
    return float(x[np.searchsorted(below, 0.025)]), float(x[np.searchsorted(below, 0.975)])


@pytest.mark.parametrize(("n", "count"), [(20, 3), (50, 25), (100, 99), (30, 0), (8, 8)])
@pytest.mark.parametrize(("prior", "added"), [("jeffreys", 0.5), ("uniform", 1.0)])
def test_independent_images_have_the_posterior(
    n: int, count: int, prior: str, added: float
) -> None:
    found = share_interval(first(n, count), [""] * n, settings(prior=prior), 0)
    expected = beta_quantiles(count + added, n - count + added)
    assert (found["low"], found["high"]) == pytest.approx(expected, abs=0.003)
    assert found["method"] == "beta"


def test_the_densest_interval_of_no_flips_starts_at_zero() -> None:
    found = share_interval(first(40, 0), [""] * 40, settings(shape="densest"), 0)
    assert found["low"] < 1e-6 < found["high"] < 0.06


def test_patients_with_several_images_are_drawn_whole() -> None:
    chosen = np.repeat([True, False, True, False, False], 6)
    people = np.repeat(np.arange(5), 6)
    found = share_interval(chosen, [f"p{i}" for i in people], settings(), 3)
    drawn = np.concatenate(list(bootstrap_weights(people, 2000, 3)))
    shares = [sum(w * c for w, c in zip(row, chosen, strict=True)) / row.sum() for row in drawn]
    assert found["method"] == "bootstrap"
    assert min(shares) <= found["low"] < np.quantile(shares, 0.1)
    assert max(shares) >= found["high"] > np.quantile(shares, 0.9)
    alone = share_interval(chosen, [""] * 30, settings(), 3)
    assert alone["high"] - alone["low"] < 0.7 * (found["high"] - found["low"])
    renamed = [f"q{99 - i}" for i in people]  # pseudonyms sort otherwise in another run
    assert share_interval(chosen, renamed, settings(), 3) == found


def test_when_all_draws_are_alike_patients_count_for_images() -> None:
    chosen, people = np.ones(30, bool), [f"p{i // 3}" for i in range(30)]
    found = share_interval(chosen, people, settings(), 0)
    assert (found["low"], found["high"]) == pytest.approx(beta_quantiles(10.5, 0.5), abs=0.003)
    one = share_interval(np.array([True, False]), ["p", "p"], settings(), 0)
    assert one["low"] < 0.1
    assert one["high"] > 0.9


def test_the_method_can_be_chosen() -> None:
    chosen = first(40, 10)
    people = [f"p{i // 2}" for i in range(40)]
    assert share_interval(chosen, people, settings(method="closed"), 0)["method"] == "beta"
    assert (
        share_interval(chosen, [""] * 40, settings(method="bootstrap"), 0)["method"] == "bootstrap"
    )
