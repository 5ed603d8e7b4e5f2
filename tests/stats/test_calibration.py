"""Calibration: scikit-learn's Brier score, errors by hand, what a calibrated model would show."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from isnet_cli.stats.calibration import (
    BINS,
    calibration,
    expected_error,
    image_losses,
    reliability,
    wilson,
)
from isnet_cli.stats.sample import make_sample
from tests.stats.factory import random_predictions


def test_brier_of_two_classes_is_scikit_learn_s() -> None:
    p, y, names = random_predictions(0, 50, 2)
    found = calibration(make_sample(p, y, names), 10, 0)
    assert found["brier"] == pytest.approx(brier_score_loss(y, p[:, 1]))
    assert found["per_class"]["c1"]["brier"] == pytest.approx(found["brier"])


def test_brier_of_more_classes_is_the_sum_over_them() -> None:
    p, y, names = random_predictions(0, 50, 3)
    found = calibration(make_sample(p, y, names), 10, 0)
    assert found["brier"] == pytest.approx(((p - np.eye(3)[y]) ** 2).sum(axis=1).mean())


def test_unknown_labels_are_left_out_image_by_image() -> None:
    p, y, names = random_predictions(1, 40, 3, multilabel=True)
    sample = make_sample(p, y, names)
    found = calibration(sample, 10, 0)
    assert found["brier"] == pytest.approx(np.nanmean((p - y) ** 2))
    assert "curve" not in found
    losses, known = image_losses(sample)
    assert losses.sum() / known.sum() == pytest.approx(found["brier"])
    errors = [found["per_class"][name]["ece"] for name in names]
    assert found["ece"] == pytest.approx(np.mean(errors))


def test_error_by_hand() -> None:
    p = np.array([0.62, 0.68, 0.91, 1.0])
    happened = np.array([True, False, True, True])
    # bin 0.6-0.7: mean 0.65, half of them; bin 0.9-1: mean 0.955, all.
    assert expected_error(p, happened) == pytest.approx((0.15 * 2 + 0.045 * 2) / 4)
    first, last = reliability(p, happened)
    assert (first["low"], first["high"], first["n"]) == (0.6, 0.7, 2)
    assert (first["predicted"], first["observed"]) == (pytest.approx(0.65), 0.5)
    assert (last["low"], last["n"], last["observed"]) == (0.9, 2, 1.0)
    assert last["observed_low"] < 1 == last["observed_high"]


def test_the_curve_holds_every_image_once() -> None:
    p, y, names = random_predictions(2, 300, 3)
    found = calibration(make_sample(p, y, names), 10, 0)
    assert sum(b["n"] for b in found["curve"]) == 300
    error = sum(b["n"] * abs(b["predicted"] - b["observed"]) for b in found["curve"]) / 300
    assert error == pytest.approx(found["ece"])
    assert all(len(entry["curve"]) <= BINS for entry in found["per_class"].values())


def one_class(p: np.ndarray, happened: np.ndarray):
    return make_sample(np.stack([1 - p, p], axis=1), happened.astype(int), ["no", "yes"])


def test_calibrated_models_are_told_apart_from_sure_ones() -> None:
    rng, ps = np.random.default_rng(0), []
    for _ in range(60):
        p = rng.random(300)
        truth = rng.random(300) < p
        found = calibration(one_class(p, truth), 200, 1)["ece_if_calibrated"]
        assert found["mean"] < found["high"]
        ps.append(found["p"])
    assert np.mean(np.array(ps) < 0.05) < 0.15
    assert np.mean(ps) == pytest.approx(0.5, abs=0.12)
    sure = calibration(one_class(np.where(p > 0.5, 0.999, 0.001), truth), 200, 1)
    assert sure["ece_if_calibrated"]["p"] < 0.01


def test_a_label_that_nobody_knows_is_an_empty_entry() -> None:
    labels = [[1.0, np.nan], [0.0, np.nan]]
    found = calibration(make_sample([[0.5, 0.5]] * 2, labels, ["a", "b"]), 10, 0)
    assert found["per_class"]["b"]["brier"] is None
    assert "'b'" in found["per_class"]["b"]["why"]


def test_wilson_s_bounds_solve_their_equation() -> None:
    for hits, n in ((0, 5), (3, 10), (10, 10)):
        for bound in wilson(hits, n):
            if 0 < bound < 1:
                assert (hits / n - bound) ** 2 == pytest.approx(
                    1.959964**2 * bound * (1 - bound) / n, rel=1e-5
                )
