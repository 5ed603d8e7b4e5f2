"""Areas and their variances against DeLong's formulas written out pair by pair."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from isnet_cli.stats.roc import Z, area_interval, area_variance, compute_areas, p_value
from isnet_cli.stats.sample import Sample, make_sample
from tests.stats.factory import random_predictions


def win(x: float, y: float) -> float:
    return 1.0 if x > y else 0.5 if x == y else 0.0


def delong(models: list[Any], truth: Any) -> tuple[list[float], Any]:
    """Areas and covariance of several scores of the same images, by the paper's definitions."""
    pos, neg = np.flatnonzero(truth), np.flatnonzero(~truth)
    m, n = len(pos), len(neg)
    v10 = np.array([[sum(win(s[i], s[j]) for j in neg) / n for i in pos] for s in models])
    v01 = np.array([[sum(win(s[i], s[j]) for i in pos) / m for j in neg] for s in models])
    areas = v10.mean(axis=1)
    s10, s01 = np.zeros((len(models),) * 2), np.zeros((len(models),) * 2)
    for r in range(len(models)):
        for s in range(len(models)):
            s10[r, s] = sum((v10[r] - areas[r]) * (v10[s] - areas[s])) / (m - 1)
            s01[r, s] = sum((v01[r] - areas[r]) * (v01[s] - areas[s])) / (n - 1)
    return areas.tolist(), s10 / m + s01 / n


def two_class(score: Any, truth: Any, patients: Any = None) -> Sample:
    p = np.asarray(score)
    return make_sample(np.stack([1 - p, p], 1), truth.astype(int), ["no", "yes"], None, patients)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 12), st.booleans())
def test_variance_and_covariance_equal_the_definitions(
    seed: int, m: int, n: int, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.r_[np.ones(m, bool), np.zeros(n, bool)])
    scored = rng.integers(0, 5, (2, m + n)) / 4 if ties else rng.random((2, m + n))
    areas, covariance = delong(list(scored), truth)
    found = [compute_areas(two_class(s, truth)) for s in scored]
    own = np.arange(m + n)
    for k in range(2):
        assert found[k].auc[1] == pytest.approx(areas[k])
        assert found[k].pairs[1].tolist() == [m, n]
        assert area_variance(found[k].psi[:, 1], own) == pytest.approx(covariance[k, k], abs=1e-14)
    difference = found[1].psi[:, 1] - found[0].psi[:, 1]
    expected = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert area_variance(difference, own) == pytest.approx(expected, abs=1e-14)


def test_areas_equal_scikit_learn_for_every_class() -> None:
    p, y, names = random_predictions(5, 80, 4)
    found = compute_areas(make_sample(p, y, names)).auc
    expected = [roc_auc_score(y == k, p[:, k]) for k in range(4)]
    assert found == pytest.approx(expected)


def test_macro_of_two_classes_is_either_class() -> None:
    p, y, names = random_predictions(6, 40, 2)
    found = compute_areas(make_sample(p, y, names))
    own = np.arange(40)
    one = area_variance(found.psi[:, 0], own)
    assert area_variance(found.psi.mean(axis=1), own) == pytest.approx(one)


def test_macro_variance_is_that_of_many_samples() -> None:
    """The mean over samples of the estimate against the spread of the macro area itself."""
    areas, estimates, apart = [], [], []
    for seed in range(400):
        p, y, names = random_predictions(seed, 90, 3)
        found = compute_areas(make_sample(p, y, names))
        own = np.arange(90)
        areas.append(found.auc.mean())
        estimates.append(area_variance(found.psi.mean(axis=1), own))
        apart.append(sum(area_variance(found.psi[:, k], own) for k in range(3)) / 9)
    assert np.mean(estimates) == pytest.approx(np.var(areas), rel=0.2)
    assert np.mean(apart) < 0.85 * np.mean(estimates)  # without covariance it is too small


def test_images_of_a_patient_are_summed_as_obuchowski_does() -> None:
    """Every image twice, same patient: the variance of single images, not half of it."""
    rng = np.random.default_rng(1)
    truth, score = rng.random(30) < 0.4, rng.random(30)
    single = compute_areas(two_class(score, truth))
    names = [f"p{i}" for i in range(30)] * 2
    double = two_class(np.r_[score, score], np.r_[truth, truth], names)
    found = compute_areas(double)
    assert found.auc == pytest.approx(single.auc)
    expected = area_variance(single.psi[:, 1], np.arange(30))
    assert area_variance(found.psi[:, 1], double.patients) == pytest.approx(expected)


def test_missing_sides_have_no_area() -> None:
    found = compute_areas(make_sample([[0.3, 0.7], [0.6, 0.4]], [1, 1], ["a", "b"]))
    assert np.isnan(found.auc).all()
    assert np.isnan(found.psi).all()
    one = compute_areas(make_sample([[0.3, 0.7], [0.6, 0.4]], [1, 0], ["a", "b"]))
    assert one.auc.tolist() == [1, 1]
    assert math.isnan(area_variance(one.psi[:, 1], np.arange(2)))


def test_intervals_stay_inside_and_say_their_method() -> None:
    low, high, method = area_interval(0.97, 0.02**2, (30, 30))
    assert method == "delong"
    logit = math.log(0.97 / 0.03)
    half = Z * 0.02 / (0.97 * 0.03)
    assert low == pytest.approx(1 / (1 + math.exp(half - logit)))
    assert 0.89 < low < 0.97 < high < 1
    for auc, var in ((1.0, 0.0), (0.0, 0.0), (0.5, math.nan)):
        low, high, method = area_interval(auc, var, (12, 20))
        assert method == "newcombe"
        assert 0 <= low <= auc <= high <= 1
        assert high - low > 0.1
    assert area_interval(1.0, 0.0, (200, 200))[0] > area_interval(1.0, 0.0, (20, 20))[0]


def test_newcombe_s_bounds_solve_their_equation() -> None:
    m, n, auc = 15, 25, 0.8
    low, high, _ = area_interval(auc, math.nan, (m, n))
    for t in (low, high):
        extra = (m + n) / 2 - 1
        spread = t * (1 - t) * (1 + extra * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        assert abs(t - auc) == pytest.approx(Z * math.sqrt(spread), rel=1e-9)


def test_coverage_is_near_its_nominal_value() -> None:
    held = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        truth = rng.random(120) < 0.4
        score = 1 / (1 + np.exp(-(rng.normal(size=120) + 1.812 * truth)))  # true area 0.9
        sample = two_class(score, truth)
        found = compute_areas(sample)
        var = area_variance(found.psi[:, 1], sample.patients)
        low, high, _ = area_interval(found.auc[1], var, found.pairs[1])
        held += low <= 0.9 <= high
    assert 0.91 <= held / 300 <= 0.985


def test_p_values() -> None:
    assert p_value(1.96, 1.0) == pytest.approx(0.05, abs=1e-4)
    assert p_value(-30.0, 1.0) > 0
    assert (p_value(0.0, 0.0), p_value(0.1, 0.0)) == (1.0, 0.0)
