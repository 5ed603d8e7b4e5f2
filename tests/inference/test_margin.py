"""Margins equal the log-odds of probabilities; the limit takes a tenth of the images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isnet_cli.inference.margin import margins, undecided_limit


def test_margins_of_exclusive_classes_are_the_log_odds_of_the_first_two() -> None:
    y = np.random.default_rng(0).normal(size=(20, 4))
    for row, found in zip(y, margins(y, None), strict=True):
        p = sorted((math.exp(v) / sum(math.exp(w) for w in row) for v in row), reverse=True)
        assert found == pytest.approx([math.log(p[0] / p[1])])


def test_margins_of_labels_are_the_distances_to_their_thresholds() -> None:
    y, t = np.random.default_rng(1).normal(size=(20, 3)), [0.5, 0.1, 0.8]
    for row, found in zip(y, margins(y, t), strict=True):
        p = [1 / (1 + math.exp(-v)) for v in row]
        odds = [
            abs(math.log(a / (1 - a)) - math.log(b / (1 - b))) for a, b in zip(p, t, strict=True)
        ]
        assert found == pytest.approx(odds)
    assert np.isinf(margins(y, [0.0, 1.0, 0.5])[:, :2]).all()


def test_a_tenth_of_the_images_is_undecided_and_the_faults_are_counted() -> None:
    rng = np.random.default_rng(2)
    margin = rng.permutation(np.arange(1.0, 100.0))
    wrong = np.where(margin < 10, 1.0, 0.0)
    wrong[margin == 3] = np.nan
    wrong[margin == 50] = 1.0
    found = undecided_limit(margin, wrong)
    assert (found["limit"], found["n"]) == (10.0, 99)
    assert (margin < found["limit"]).sum() == 9
    assert found["wrong"] == {"below": 1.0, "above": pytest.approx(1 / 90)}


def test_too_few_images_have_no_limit() -> None:
    found = undecided_limit(np.ones(4), np.zeros(4))
    assert found["limit"] is None
    assert "too few validation images: 4" in found["why"]
