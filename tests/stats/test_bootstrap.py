"""Bootstrap by patient: scores under weights are the scores of images repeated that often."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isnet_cli.stats import bootstrap
from isnet_cli.stats.bootstrap import (
    bootstrap_p_value,
    bootstrap_scores,
    bootstrap_weights,
    keep_usable_draws,
    logit_interval,
    percentile_interval,
    student_quantile,
)
from isnet_cli.stats.calibration import calibration
from isnet_cli.stats.sample import Sample, make_sample, read_values
from isnet_cli.stats.scores import scores
from tests.stats.factory import random_predictions


def values(p, y, names):
    found = read_values(scores(p, y, names))
    sample = make_sample(p, y, names)
    found["calibration", "brier"] = calibration(sample, 2, 0)["brier"]
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_scores_of_a_draw_are_those_of_its_images(seed: int, several: bool, ties: bool) -> None:
    p, y, names = random_predictions(seed, 24, 3, multilabel=several)
    if ties:
        p = np.round(p * 4) / 4
    patients = [f"p{i // 2}" for i in range(24)]
    sample = make_sample(p, y, names, patients=patients)
    valid = values(p, y, names)
    drawn = bootstrap_scores([sample], [valid], 5, seed)[0]
    w = np.concatenate(list(bootstrap_weights(sample.patients, 5, seed))).astype(int)
    for d in range(5):
        rows = sample.rows[np.repeat(np.arange(len(sample)), w[d])]
        again = values(p[rows], y[rows], names)
        for path, draws in drawn.items():
            parts = [path] if path[0] != "macro" else [("per_class", c, path[1]) for c in names]
            defined = all(again[one] is not None for one in parts if valid[one] is not None)
            if path == ("balanced_accuracy",) or not defined:
                continue  # over other classes than in the whole set
            assert draws[d] == pytest.approx(again[path], abs=1e-9), path


def test_patients_come_as_a_whole_and_as_many_as_there_are() -> None:
    patients = np.array([0, 0, 1, 2, 2, 2])
    w = np.concatenate(list(bootstrap_weights(patients, 500, 0)))
    assert w.shape == (500, 6)
    assert (w[:, 0] == w[:, 1]).all()
    assert (w[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert w[:, 0].mean() == pytest.approx(1, abs=0.1)


def test_blocks_do_not_change_the_number_of_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "BLOCK", 60)
    blocks = list(bootstrap_weights(np.arange(20), 10, 1))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]


def paired(seed: int) -> list[Sample]:
    p, y, names = random_predictions(seed, 50, 2)
    rng = np.random.default_rng(seed)
    q = np.clip(p + rng.normal(0, 0.01, p.shape), 0, 1)
    return [make_sample(x, y, names) for x in (p, q / q.sum(axis=1, keepdims=True))]


def test_two_models_share_their_draws() -> None:
    both = paired(4)
    labels = both[0].truth.argmax(axis=1)
    valid = [values(s.p, labels, list(s.classes)) for s in both]
    one, other = bootstrap_scores(both, valid, 400, 3)
    alone = bootstrap_scores([both[1]], [valid[1]], 400, 3)[0]
    path = ("macro", "auc")
    assert np.array_equal(other[path], alone[path])
    assert (other[path] - one[path]).std() < 0.3 * one[path].std()


def test_samples_of_other_patients_are_refused() -> None:
    p, y, names = random_predictions(1, 10, 2)
    samples = [make_sample(p, y, names), make_sample(p, y, names, patients=["p"] * 10)]
    with pytest.raises(ValueError, match="same images"):
        bootstrap_scores(samples, [{}, {}], 5, 0)


def test_draws_without_a_class_have_no_value_there() -> None:
    p, y, names = random_predictions(2, 12, 2)
    y = np.r_[1, np.zeros(11, int)]
    valid = values(p, y, names)
    draws = bootstrap_scores([make_sample(p, y, names)], [valid], 300, 0)[0][
        "per_class", "c1", "ap"
    ]
    assert np.isnan(draws).mean() == pytest.approx((11 / 12) ** 12, abs=0.1)
    assert keep_usable_draws(draws) is None
    assert keep_usable_draws(np.r_[np.nan, np.ones(9)]) is not None


def test_percentile_levels_follow_the_number_of_patients() -> None:
    draws = np.random.default_rng(0).normal(size=200_000)
    low, high = percentile_interval(draws, 100_000)
    assert (low, high) == pytest.approx((-1.96, 1.96), abs=0.02)
    low, high = percentile_interval(draws, 20)
    wide = stats.t.ppf(0.975, 19) * math.sqrt(20 / 19)
    assert (low, high) == pytest.approx((-wide, wide), abs=0.03)


@pytest.mark.parametrize("freedom", [2, 4, 1000])
def test_student_s_quantile(freedom: int) -> None:
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-12)


def test_logit_interval_is_symmetric_on_its_scale() -> None:
    draws = np.random.default_rng(0).normal(0.9, 0.03, 5000)
    low, high = logit_interval(0.9, draws, 1000)
    middle = math.log(0.9 / 0.1)
    up, down = math.log(high / (1 - high)) - middle, middle - math.log(low / (1 - low))
    assert up == pytest.approx(down)
    assert up == pytest.approx(1.962 * draws.std(ddof=1) / 0.09, rel=1e-3)


def test_p_of_draws_is_two_sided_and_never_0() -> None:
    assert bootstrap_p_value(np.full(999, 1.0)) == pytest.approx(0.002)
    assert bootstrap_p_value(np.r_[np.full(50, -1.0), np.full(50, 1.0)]) == 1.0
    assert bootstrap_p_value(np.zeros(100)) == 1.0
