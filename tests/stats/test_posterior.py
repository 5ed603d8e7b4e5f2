"""The posterior of count scores: EVALUATION's check, exact moments, the densest interval."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.stats.posterior import (
    choose_prior,
    densest_interval,
    equal_tails_interval,
    posterior_interval,
    posterior_scores,
)
from isnet_cli.stats.sample import make_sample, read_values
from isnet_cli.stats.scores import scores
from tests.stats.factory import random_predictions


def sample_of(table: list[list[int]]):
    """Predictions with this confusion matrix."""
    size = len(table)
    y, chosen = [], []
    for t, row in enumerate(table):
        for c, n in enumerate(row):
            y += [t] * n
            chosen += [c] * n
    p, names = np.eye(size)[chosen], [f"c{k}" for k in range(size)]
    return make_sample(p, y, names), read_values(scores(p, y, names))


def test_the_paper_s_case_is_reproduced() -> None:
    """3 balanced classes, 201 images, 192 right: 0.928, 0.018, [0.890, 0.959]."""
    sample, values = sample_of([[64, 2, 1], [1, 64, 2], [2, 1, 64]])
    drawn = posterior_scores(sample, values, 100_000, np.random.default_rng(0), "uniform")
    f1 = drawn["macro", "f1"]
    assert f1.shape == (100_000,)
    assert f1.mean() == pytest.approx(0.928, abs=0.001)
    assert f1.std() == pytest.approx(0.018, abs=0.0005)
    # These two figures are the 2.5 % and 97.5 % points; the densest interval lies a little higher.
    assert equal_tails_interval(f1) == pytest.approx((0.890, 0.959), abs=0.001)
    assert densest_interval(f1) == pytest.approx((0.8925, 0.9610), abs=0.0015)


@pytest.mark.parametrize(("kind", "a", "b"), [("uniform", 1, 2), ("jeffreys", 0.5, 0.5)])
def test_recall_has_the_moments_of_its_beta_posterior(kind, a: float, b: float) -> None:
    sample, values = sample_of([[7, 2, 1], [1, 8, 0], [2, 2, 3]])
    drawn = posterior_scores(sample, values, 200_000, np.random.default_rng(1), kind)
    recall = drawn["per_class", "c0", "recall"]
    x, y = 7 + a, 3 + b
    mean, var = x / (x + y), x * y / (x + y) ** 2 / (x + y + 1)
    assert recall.mean() == pytest.approx(mean, abs=0.001)
    assert recall.var() == pytest.approx(var, rel=0.02)


def test_jeffreys_prior_of_two_classes_is_one_half_everywhere() -> None:
    matrix, frequency = choose_prior("jeffreys", 2)
    assert matrix.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert frequency == 0.5
    assert choose_prior("jeffreys", 5)[0].sum(axis=1) == pytest.approx([1.0] * 5)


def test_specificity_of_two_classes_is_the_other_s_recall_in_every_draw() -> None:
    sample, values = sample_of([[9, 3], [2, 16]])
    drawn = posterior_scores(sample, values, 2000, np.random.default_rng(2))
    other = drawn["per_class", "c1", "recall"]
    assert drawn["per_class", "c0", "specificity"] == pytest.approx(other)
    assert drawn["balanced_accuracy",] == pytest.approx(drawn["macro", "recall"])


def test_a_class_without_images_stays_out() -> None:
    sample, values = sample_of([[9, 3, 1], [2, 16, 1], [0, 0, 0]])
    drawn = posterior_scores(sample, values, 3000, np.random.default_rng(2))
    assert ("per_class", "c2", "recall") not in drawn
    assert drawn["per_class", "c2", "specificity"].mean() == pytest.approx(30 / 32, abs=0.03)
    both = [drawn["per_class", name, "recall"] for name in ("c0", "c1")]
    assert drawn["macro", "recall"] == pytest.approx(np.mean(both, axis=0))


def test_labels_are_matrices_of_their_own_and_have_no_joint_scores() -> None:
    p, y, names = random_predictions(0, 60, 3, multilabel=True)
    sample, metrics = make_sample(p, y, names), scores(p, y, names)
    drawn = posterior_scores(sample, read_values(metrics), 40_000, np.random.default_rng(4))
    assert {path[0] for path in drawn} == {"per_class"}
    (tn, fp), (fn, tp) = metrics["confusion"]["c1"]
    means = {rate: drawn["per_class", "c1", rate].mean() for rate in ("recall", "specificity")}
    assert means["recall"] == pytest.approx((tp + 0.5) / (tp + fn + 1), abs=0.003)
    assert means["specificity"] == pytest.approx((tn + 0.5) / (tn + fp + 1), abs=0.003)


def test_same_seed_same_draws() -> None:
    sample, values = sample_of([[9, 3], [2, 16]])
    one, other = (
        posterior_scores(sample, values, 1000, np.random.default_rng(7)) for _ in range(2)
    )
    assert all(np.array_equal(one[path], other[path]) for path in one)


def test_densest_interval_of_known_densities() -> None:
    rng = np.random.default_rng(0)
    low, high = densest_interval(rng.normal(size=400_000))
    assert (low, high) == pytest.approx((-1.96, 1.96), abs=0.06)
    low, high = densest_interval(rng.exponential(size=400_000))
    assert low == pytest.approx(0, abs=1e-3)
    assert high == pytest.approx(-np.log(0.05), abs=0.02)
    assert densest_interval(np.array([0.3])) == (0.3, 0.3)


def test_shapes_of_the_interval() -> None:
    draws = np.random.default_rng(0).exponential(size=10_000)
    assert posterior_interval(draws) == densest_interval(draws)
    assert posterior_interval(draws, "equal_tails") == equal_tails_interval(draws)
    assert equal_tails_interval(draws) == pytest.approx((-np.log(0.975), -np.log(0.025)), rel=0.15)
