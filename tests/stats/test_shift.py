"""Differences of scores: paired ones know the pairing, independent ones add their variances."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.roc import Z
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores
from isnet_cli.stats.shift import (
    OTHER_CLASSES,
    Test,
    independent_differences,
    paired_differences,
    shift_tables,
)
from tests.stats.factory import random_predictions

QUICK = Intervals(draws=2000, bootstrap=300)


def scored(p: Any, y: Any, names: list[str], patients: Any = None) -> Test:
    return Test(scores(p, y, names), make_sample(p, y, names, patients=patients))


def nudged(p: Any, amount: float) -> Any:
    q = np.clip(p + np.random.default_rng(0).normal(0, amount, p.shape), 0.001, 1)
    return q / q.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("several", [False, True])
def test_values_are_differences_of_the_scores(several: bool) -> None:
    p, y, names = random_predictions(0, 90, 3, multilabel=several)
    q = np.clip(p * 0.9, 0, 1) if several else nudged(p, 0.1)
    one, other = scored(p, y, names), scored(q, y, names)
    for difference in (paired_differences, independent_differences):
        found = difference(one, other, QUICK, 1)
        json.dumps(found, allow_nan=False)
        for rate in ("f1", "auc", "ap", "recall"):
            expected = other.metrics["macro"][rate] - one.metrics["macro"][rate]
            assert found["macro"][rate]["value"] == pytest.approx(expected, abs=1e-12)
        expected = other.metrics["accuracy"] - one.metrics["accuracy"]
        assert found["accuracy"]["value"] == pytest.approx(expected)


def test_pairing_narrows_the_interval() -> None:
    p, y, names = random_predictions(1, 150, 2)
    one, other = scored(p, y, names), scored(nudged(p, 0.05), y, names)
    paired = paired_differences(one, other, QUICK, 1)
    apart = independent_differences(one, other, QUICK, 1)
    for rate in ("auc", "ap", "f1"):
        assert paired["macro"][rate]["sd"] < 0.6 * apart["macro"][rate]["sd"]


def test_paired_areas_agree_with_the_bootstrap() -> None:
    p, y, names = random_predictions(2, 300, 3)
    one, other = scored(p, y, names), scored(nudged(p, 0.2), y, names)
    by_hand = paired_differences(one, other, QUICK, 1)["macro"]["auc"]
    drawn = Intervals(method="bootstrap", draws=1000, bootstrap=1500)
    by_draws = paired_differences(one, other, drawn, 1)["macro"]["auc"]
    assert (by_hand["method"], by_draws["method"]) == ("delong", "bootstrap")
    assert by_draws["sd"] == pytest.approx(by_hand["sd"], rel=0.15)
    assert by_hand["high"] - by_hand["value"] == pytest.approx(Z * by_hand["sd"])


def test_a_clear_loss_is_significant_and_none_is_not() -> None:
    p, y, names = random_predictions(3, 200, 2, skill=3.0)
    noise, _, _ = random_predictions(99, 200, 2, skill=0.0)
    lost = paired_differences(scored(p, y, names), scored(noise, y, names), QUICK, 1)
    twin, _, _ = random_predictions(3, 200, 2, skill=2.9)
    same = paired_differences(scored(p, y, names), scored(twin, y, names), QUICK, 1)
    for rate in ("auc", "f1", "ap"):
        assert lost["macro"][rate]["p"] < 0.01
        assert lost["macro"][rate]["high"] < 0
        assert same["macro"][rate]["p"] > 0.01


def test_p_values_of_no_difference_are_uniform() -> None:
    """Two models of equal skill on the same images: 5 % of the tests say otherwise."""
    p_values = []
    for seed in range(120):
        p, y, names = random_predictions(seed, 80, 2)
        rng = np.random.default_rng(seed + 1000)
        logits = rng.normal(size=(80, 2))
        logits[np.arange(80), y] += 1.0
        q = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        few = Intervals(draws=1000, bootstrap=200)
        found = paired_differences(scored(p, y, names), scored(q, y, names), few, seed)
        p_values.append([found["macro"][rate]["p"] for rate in ("auc", "f1")])
    below = (np.array(p_values) < 0.05).mean(axis=0)
    assert (below < 0.12).all()
    assert np.mean(p_values, axis=0) == pytest.approx([0.5, 0.5], abs=0.12)


def test_independent_areas_add_their_variances() -> None:
    sides = [scored(*random_predictions(seed, 120, 2)) for seed in (4, 5)]
    found = independent_differences(sides[0], sides[1], QUICK, 1)["macro"]["auc"]
    only = [paired_sd(side) for side in sides]
    assert found["sd"] == pytest.approx(math.hypot(*only))


def paired_sd(test: Test) -> float:
    from isnet_cli.stats.roc import area_variance, compute_areas

    return math.sqrt(area_variance(compute_areas(test.sample).psi[:, 0], test.sample.patients))


def test_means_over_different_classes_are_not_compared() -> None:
    p, y, names = random_predictions(6, 60, 3)
    part = y != 2
    found = independent_differences(scored(p, y, names), scored(p[part], y[part], names), QUICK, 1)
    assert found["macro"]["f1"]["why"] == OTHER_CLASSES
    assert found["balanced_accuracy"]["why"] == OTHER_CLASSES
    assert found["per_class"]["c0"]["recall"]["low"] is not None
    assert found["per_class"]["c2"]["recall"]["value"] is None


def test_the_same_predictions_twice_and_single_images_are_empty_cells() -> None:
    p, y, names = random_predictions(7, 30, 2)
    same = paired_differences(scored(p, y, names), scored(p, y, names), QUICK, 1)
    assert (same["macro"]["f1"]["value"], same["macro"]["f1"]["low"]) == (0.0, None)
    assert same["macro"]["auc"]["why"]
    one = scored(p[:1], y[:1], names)
    assert paired_differences(one, one, QUICK, 1)["accuracy"]["why"]
    json.dumps(independent_differences(one, scored(p, y, names), QUICK, 1), allow_nan=False)


def test_other_images_are_refused() -> None:
    p, y, names = random_predictions(8, 30, 2)
    with pytest.raises(ValueError, match="same images"):
        paired_differences(scored(p, y, names), scored(p, 1 - y, names), QUICK, 1)
    with pytest.raises(ValueError, match="same classes"):
        independent_differences(scored(p, y, names), scored(p, y, ["x", "y"]), QUICK, 1)


def test_tables_of_versions_and_sets() -> None:
    p, y, names = random_predictions(9, 60, 2)
    q, z, _ = random_predictions(10, 50, 2)
    tests = {
        ("test", "biased"): scored(p, y, names),
        ("test", "standard"): scored(nudged(p, 0.1), y, names),
        ("test", "deceiving"): scored(nudged(p, 0.4), y, names),
        ("far", "standard"): scored(q, z, names),
        ("silent", "standard"): scored(q, np.full(50, -1), names),
    }
    found = shift_tables(tests, "test", QUICK, 1)
    assert [(e["from"], e["to"], e["paired"]) for e in found] == [
        (["test", "biased"], ["test", "standard"], True),
        (["test", "biased"], ["test", "deceiving"], True),
        (["test", "standard"], ["far", "standard"], False),
    ]
    value = found[2]["differences"]["accuracy"]["value"]
    after, before = (tests[name, "standard"].metrics["accuracy"] for name in ("far", "test"))
    assert value == pytest.approx(after - before)
    assert shift_tables({("a", "standard"): tests["test", "standard"]}, "a", QUICK, 1) == []
