"""The spread over runs."""

from __future__ import annotations

import pytest

from isnet_cli.stats.scores import scores
from isnet_cli.stats.seeds import ONE_RUN, summarise_runs, summarise_scores_of_runs
from tests.stats.factory import random_predictions


def test_mean_and_spread() -> None:
    found = summarise_runs([0.5, 0.7, None, 0.9])
    assert (found["runs"], found["mean"]) == (3, pytest.approx(0.7))
    assert found["sd"] == pytest.approx(0.2)  # n - 1 in the denominator
    assert (found["least"], found["largest"]) == (0.5, 0.9)
    assert "why" not in found


def test_one_run_has_no_spread_and_none_has_no_value() -> None:
    assert summarise_runs([0.5])["sd"] is None
    assert summarise_runs([0.5])["why"] == ONE_RUN
    assert summarise_runs([None, None])["mean"] is None
    assert summarise_runs([])["why"]


def test_every_score_of_runs() -> None:
    runs = [scores(*random_predictions(seed, 40, 3)) for seed in range(3)]
    found = summarise_scores_of_runs(runs)
    expected = sum(one["macro"]["f1"] for one in runs) / 3
    assert found["macro", "f1"]["mean"] == pytest.approx(expected)
    assert found["per_class", "c1", "auc"]["runs"] == 3
    other = scores(*random_predictions(0, 40, 2))
    with pytest.raises(ValueError, match="same classes"):
        summarise_scores_of_runs([runs[0], other])
    with pytest.raises(ValueError, match="same classes"):
        summarise_scores_of_runs([])
