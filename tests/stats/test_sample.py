"""Samples: labelled images only, patients numbered, and count scores that equal `scores`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.errors import IsnetError
from isnet_cli.stats.sample import (
    COUNTED,
    compute_rates,
    count_outcomes,
    count_scores,
    make_sample,
    read_values,
)
from isnet_cli.stats.scores import scores
from tests.stats.factory import random_predictions


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25), st.integers(2, 4), st.booleans())
def test_count_scores_equal_the_scores(seed: int, n: int, classes: int, several: bool) -> None:
    p, y, names = random_predictions(seed, n, classes, multilabel=several)
    values = read_values(scores(p, y, names))
    sample = make_sample(p, y, names)
    if not len(sample):
        assert values["accuracy",] is None
        return
    counts = count_outcomes(sample, np.ones((2, len(sample))))
    found = count_scores(counts, compute_rates(counts), sample, values)
    for path, value in values.items():
        if path[-1] in ("auc", "ap") or value is None:
            assert path not in found
        else:
            assert found[path] == pytest.approx([value, value], abs=1e-12)


def test_weights_count_images_several_times() -> None:
    p, y, names = random_predictions(3, 20, 3)
    w = np.random.default_rng(0).integers(0, 4, 20)
    found = compute_rates(count_outcomes(make_sample(p, y, names), w[None]))
    again = scores(np.repeat(p, w, axis=0), np.repeat(y, w), names)
    for k, name in enumerate(names):
        for rate in COUNTED:
            assert found[rate][0, k] == pytest.approx(again["per_class"][name][rate])


def test_images_without_label_are_left_out_and_their_places_kept() -> None:
    sample = make_sample([[0.9, 0.1]] * 3, [0, -1, 1], ["a", "b"])
    assert (len(sample), sample.rows.tolist(), sample.task) == (2, [0, 2], "multiclass")
    several = make_sample([[0.9, 0.1]] * 2, [[np.nan, np.nan], [1.0, np.nan]], ["a", "b"])
    assert (several.rows.tolist(), several.known.tolist()) == ([1], [[True, False]])


@pytest.mark.parametrize(
    ("names", "numbers", "repeated"),
    [
        (["p", "q", "p"], [0, 1, 0], True),
        (["", "", ""], [0, 1, 2], False),
        ([None, "q", "q"], [0, 1, 1], True),
        (None, [0, 1, 2], False),
    ],
)
def test_images_of_one_patient_share_a_number(names: Any, numbers: Any, repeated: bool) -> None:
    sample = make_sample([[0.9, 0.1]] * 3, [0, 1, 1], ["a", "b"], patients=names)
    assert sample.patients.tolist() == numbers
    assert sample.repeated is repeated
    assert sample.clusters == len(set(numbers))


def test_a_name_that_looks_like_a_image_is_a_patient_of_its_own() -> None:
    sample = make_sample([[1, 0]] * 2, [0, 1], ["a", "b"], patients=["", "('image', 0)"])
    assert sample.clusters == 2


def test_thresholds_decide_labels() -> None:
    sample = make_sample([[0.5, 0.5]], [[1.0, 1.0]], ["a", "b"], [0.4, 0.6])
    assert sample.chosen.tolist() == [[True, False]]


def test_bad_input_is_refused() -> None:
    with pytest.raises(IsnetError, match="NaN"):
        make_sample([[np.nan, 0.5]], [0], ["a", "b"])
    with pytest.raises(ValueError, match="2 labels"):
        make_sample([[0.5, 0.5]], [0, 1], ["a", "b"])
