"""Thresholds: the best F1 by trying all, reasons where there is none to find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from isnet_cli.errors import IsnetError
from isnet_cli.stats.scores import scores
from isnet_cli.stats.thresholds import choose_thresholds


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30))
def test_no_other_threshold_is_better(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    p, y = rng.integers(0, 8, (n, 1)) / 7, rng.integers(0, 2, (n, 1)).astype(float)
    found = choose_thresholds(p, y, ["a"])
    if not 0 < y.sum() < n:
        assert found["thresholds"] == [0.5]
        assert "a" in found["threshold_rule"]["why"]
        return
    tried = [f1_score(y[:, 0], p[:, 0] >= t, zero_division=0) for t in np.linspace(0, 1, 57)]
    limit = found["thresholds"][0]
    own = f1_score(y[:, 0], p[:, 0] >= limit)
    assert own == pytest.approx(max(tried))
    assert found["threshold_rule"]["f1"]["a"] == pytest.approx(own)
    assert 0 <= limit <= 1
    # Evaluation decides by the stored threshold and finds the same F1.
    assert scores(p, y, ["a"], [limit])["per_class"]["a"]["f1"] == pytest.approx(own)


def test_the_threshold_lies_between_images() -> None:
    p = [[0.1], [0.2], [0.6], [0.9]]
    found = choose_thresholds(p, [[0.0], [0.0], [1.0], [1.0]], ["a"])
    assert found["thresholds"] == [pytest.approx(0.4)]
    assert found["threshold_rule"]["f1"] == {"a": 1.0}


def test_labels_without_both_kinds_keep_one_half() -> None:
    labels = [[1.0, np.nan, 0.0, 1.0], [1.0, np.nan, 0.0, 0.0]]
    found = choose_thresholds([[0.2] * 4, [0.3] * 4], labels, ["a", "b", "c", "d"])
    assert found["thresholds"][:3] == [0.5] * 3
    why = found["threshold_rule"]["why"]
    assert why == {
        "a": "no validation image without 'a'",
        "b": "no validation image with 'b'",
        "c": "no validation image with 'c'",
    }


def test_unknown_labels_are_left_out() -> None:
    p, y = [[0.1], [0.9], [0.5]], [[0.0], [1.0], [np.nan]]
    assert choose_thresholds(p, y, ["a"]) == choose_thresholds(p[:2], y[:2], ["a"])


def test_bad_input_is_refused() -> None:
    with pytest.raises(IsnetError, match="NaN"):
        choose_thresholds([[np.nan]], [[1.0]], ["a"])
    with pytest.raises(ValueError, match="labels"):
        choose_thresholds([[0.5]], [1.0], ["a"])
