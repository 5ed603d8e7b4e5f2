"""All pairs of models: what single paired tests give, corrected by score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.comparison import (
    ALPHA,
    DRAWS,
    SCORES,
    Comparison,
    compare_on,
    corrected,
    draws_for,
)
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores
from isnet_cli.stats.shift import Test, paired_differences
from tests.stats.factory import random_predictions

PEOPLE = [f"p{i // 2}" for i in range(60)]


def models(count: int, *, multilabel: bool = False) -> list[Test]:
    """Models of different skill on the same images, two of each patient."""
    _, y, names = random_predictions(0, 60, 2, multilabel=multilabel)
    found = []
    for k in range(count):
        noise = np.random.default_rng(k + 1).normal(size=(60, 2))
        truth = np.nan_to_num(y) if multilabel else np.eye(2)[y]
        p = 1 / (1 + np.exp(-(noise + k * truth)))
        p = p if multilabel else p / p.sum(axis=1, keepdims=True)
        found.append(Test(scores(p, y, names), make_sample(p, y, names, patients=PEOPLE)))
    return found


@pytest.mark.parametrize("multilabel", [False, True])
def test_each_pair_is_the_single_paired_test(multilabel: bool) -> None:
    three = models(3, multilabel=multilabel)
    found = compare_on(("a", "standard"), three, 300, 7)
    assert [(c.first, c.second) for c in found] == [(0, 1), (0, 2), (1, 2)]
    for c in found:
        one = paired_differences(three[c.first], three[c.second], Intervals(bootstrap=300), 7)
        for name, path in SCORES.items():
            cell: Any = one
            for key in path:
                cell = cell[key]
            assert {k: c.differences[name][k] for k in cell} == cell
    assert found[1].differences["macro_auc"]["method"] == "delong"
    assert found[1].differences["macro_f1"]["method"] == "bootstrap"
    assert found[1].differences["macro_auc"]["p"] < 0.01
    assert compare_on(("a", "standard"), three, 300, 7, [(0, 2)]) == [found[1]]
    (turned,) = compare_on(("a", "standard"), three, 300, 7, [(2, 0)])
    value = found[1].differences["macro_f1"]["value"]
    assert turned.differences["macro_f1"]["value"] == pytest.approx(-value)
    assert value != 0


def test_a_model_against_itself_has_no_p_and_says_why() -> None:
    one = models(1)[0]
    (found,) = compare_on(("a", "standard"), [one, one], 300, 0)
    for cell in found.differences.values():
        assert cell["p"] is None
        assert cell["value"] == 0
        assert cell["why"]


def pair(p: float | None, test: str) -> Comparison:
    cell = {"value": 0.1, "p": p}
    other = {"value": 0.1, "p": 0.04}
    return Comparison((test, "standard"), 0, 1, dict.fromkeys(SCORES, other) | {"macro_f1": cell})


def test_each_score_is_a_family_over_pairs_and_tests() -> None:
    found = corrected([pair(0.01, "a"), pair(None, "b"), pair(0.03, "c")])
    assert [c.differences["macro_f1"]["p_holm"] for c in found] == [
        pytest.approx(0.03), None, pytest.approx(0.06),
    ]  # fmt: skip
    assert [c.differences["accuracy"]["p_holm"] for c in found] == pytest.approx([0.12] * 3)
    assert [c.test[0] for c in found] == ["a", "b", "c"]


@pytest.mark.parametrize("family", [1, 100, 101, 5000])
def test_draws_let_the_smallest_p_pass(family: int) -> None:
    draws = draws_for(family)
    assert draws >= DRAWS
    assert family * 2 / (draws + 1) < ALPHA
