"""Limits grant the share that they promise; flags have reasons, empty cells where unknown."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isnet_cli.inference.ood_score import fit_cloud
from isnet_cli.inference.uncertainty import (
    COLUMNS,
    FEWEST,
    Flagger,
    Limits,
    compute_margins,
    find_margin_limit,
    lower_limit,
    upper_limit,
)

CLOUD = fit_cloud(np.random.default_rng(0).normal(size=(30, 4)))
LIMITS = Limits(
    CLOUD, ood_limit=2.0, ood_share=0.019, margin_limit=0.5, ood_reason="", margin_reason=""
)
OK = ("ok", "")


@pytest.mark.parametrize(("n", "share"), [(10, 0.02), (19, 0.05), (100, 0.02), (107, 0.1)])
def test_the_limit_is_the_smallest_value_that_grants_the_share(n: int, share: float) -> None:
    values = np.random.default_rng(n).permutation(n) * 1.5
    found = upper_limit(values, share)
    # a further image is equally likely to have each of the n + 1 ranks among all
    granted = {
        float(v): sum(rank > position + 1 for rank in range(1, n + 2)) / (n + 1)
        for position, v in enumerate(sorted(values))
    }
    good = [v for v, chance in granted.items() if chance <= share + 1e-12]
    assert found["limit"] == (min(good) if good else max(granted))
    assert found["share"] == pytest.approx(granted[found["limit"]])
    assert found["n"] == n


def test_further_images_exceed_it_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    exceeded, promised = [], 0.0
    for _ in range(400):
        images = rng.standard_t(3, size=61)
        found = upper_limit(images[:60], 0.1)
        exceeded += (rng.standard_t(3, size=50) > found["limit"]).tolist()
        promised = found["share"]
    assert promised == pytest.approx(6 / 61)
    assert np.mean(exceeded) == pytest.approx(promised, abs=0.01)


def test_the_lower_limit_is_its_mirror_image() -> None:
    values = np.random.default_rng(1).normal(size=50)
    above, below = upper_limit(-values, 0.1), lower_limit(values, 0.1)
    assert below["limit"] == -above["limit"]
    assert np.mean(values < below["limit"]) <= 0.1


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.arange(FEWEST - 1.0), "too few validation images: 9"),
        (np.r_[np.arange(20.0), np.nan], "not numbers"),
        (np.full(20, np.inf), "not finite"),
    ],
)
def test_no_limit_has_a_reason(values: np.ndarray, why: str) -> None:
    for found in (upper_limit(values, 0.05), lower_limit(-values, 0.05)):
        assert found["limit"] is None
        assert why in found["why"]


def test_margins_of_exclusive_classes_are_the_log_odds_of_the_first_two() -> None:
    y = np.random.default_rng(0).normal(size=(20, 4))
    for row, found in zip(y, compute_margins(y, None), strict=True):
        p = sorted((math.exp(v) / sum(math.exp(w) for w in row) for v in row), reverse=True)
        assert found == pytest.approx([math.log(p[0] / p[1])])


def test_margins_of_labels_are_the_distances_to_their_thresholds() -> None:
    y, t = np.random.default_rng(1).normal(size=(20, 3)), [0.5, 0.1, 0.8]
    for row, found in zip(y, compute_margins(y, t), strict=True):
        p = [1 / (1 + math.exp(-v)) for v in row]
        odds = [
            abs(math.log(a / (1 - a)) - math.log(b / (1 - b))) for a, b in zip(p, t, strict=True)
        ]
        assert found == pytest.approx(odds)
    assert np.isinf(compute_margins(y, [0.0, 1.0, 0.5])[:, :2]).all()


def test_a_tenth_of_the_images_is_flagged_and_the_faults_are_counted() -> None:
    rng = np.random.default_rng(2)
    margin = rng.permutation(np.arange(1.0, 100.0))
    wrong = np.where(margin < 10, 1.0, 0.0)
    wrong[margin == 3] = np.nan
    wrong[margin == 50] = 1.0
    found = find_margin_limit(margin, wrong)
    assert (found["limit"], found["n"]) == (10.0, 99)
    assert (margin < found["limit"]).sum() == 9
    assert found["wrong"] == {"below": 1.0, "above": pytest.approx(1 / 90)}


def test_too_few_images_have_no_limit() -> None:
    found = find_margin_limit(np.ones(4), np.zeros(4))
    assert found["limit"] is None
    assert "too few validation images: 4" in found["why"]


def cells(
    logits: list[float],
    *,
    distance: float = 1.0,
    mask: tuple[str, str] = OK,
    limits: Limits = LIMITS,
    thresholds: list[float] | None = None,
) -> dict[str, str]:
    y = np.array(logits)
    p = 1 / (1 + np.exp(-y)) if thresholds else np.exp(y) / np.exp(y).sum()
    found = Flagger(limits, ["a", "b", "c"][: len(y)], thresholds).flag_prediction(
        y, p, distance, mask
    )
    assert tuple(found) == COLUMNS
    return found


def test_nothing_is_flagged() -> None:
    assert cells([2.0, 0.0]) == {
        "uncertain": "0", "flag_mask": "0", "flag_ood": "0", "ood_score": "0.5", "flag_margin": "0",
        "margin": "2", "reasons": "",
    }  # fmt: skip


def test_each_flag_has_its_reason() -> None:
    found = cells([2.0, 0.0], mask=("suspect", "small: 3% of the image"))
    assert (found["uncertain"], found["flag_mask"]) == ("1", "1")
    assert found["reasons"] == "mask_suspect: small: 3% of the image"
    assert cells([2.0, 0.0], mask=("missing", ""))["reasons"] == "mask_missing: no lung mask"
    found = cells([2.0, 0.0], distance=3.0)
    assert (found["uncertain"], found["flag_ood"], found["ood_score"]) == ("1", "1", "1.5")
    assert found["reasons"] == (
        "ood: 1.50 times as far from the training images as the limit, which 1.9 % of images"
        " like them exceed"
    )
    found = cells([0.1, 0.4])
    assert (found["uncertain"], found["flag_margin"], found["margin"]) == ("1", "1", "0.3")
    assert found["reasons"] == "margin: b 0.57 or a 0.43"


def test_the_limits_themselves_are_not_flagged() -> None:
    found = cells([0.5, 0.0], distance=2.0)
    assert (found["uncertain"], found["flag_ood"], found["flag_margin"]) == ("0", "0", "0")


def test_labels_near_their_thresholds_are_named() -> None:
    found = cells([-2.0, 0.1, 3.0], thresholds=[0.1, 0.5, 0.5])
    assert found["reasons"] == "margin: a 0.12 (threshold 0.10), b 0.52 (threshold 0.50)"
    assert cells([3.0, 3.0, -3.0], thresholds=[0.1, 0.5, 0.5])["flag_margin"] == "0"


def test_what_is_not_known_is_empty_with_a_reason() -> None:
    found = cells([2.0, 0.0], limits=Limits(), distance=float("nan"))
    assert (found["uncertain"], found["flag_ood"], found["ood_score"], found["flag_margin"]) == (
        "0", "", "", "",
    )  # fmt: skip
    assert found["reasons"].startswith("ood_unknown: the model was trained before limits")
    assert "margin_unknown: the model was trained before limits" in found["reasons"]


def test_an_answer_that_is_no_number_is_no_prediction() -> None:
    found = cells([float("nan"), 0.0], mask=("suspect", "small: 3%"))
    assert (found["uncertain"], found["flag_ood"], found["margin"]) == ("1", "", "")
    assert found["reasons"] == (
        "mask_suspect: small: 3%; not_finite: the model's answer is no number; no prediction"
    )


def test_reasons_come_in_the_order_of_the_columns() -> None:
    found = cells([0.0, 0.1], distance=9.0, mask=("suspect", "small: 3%"))
    assert [part.partition(":")[0] for part in found["reasons"].split("; ")] == [
        "mask_suspect", "ood", "margin",
    ]  # fmt: skip
