"""Doubt about one prediction: flags, their reasons, and empty cells where nothing can be said."""

from __future__ import annotations

import numpy as np

from isnet_cli.inference.ood_score import fit_cloud
from isnet_cli.inference.uncertainty import COLUMNS, Doubter
from isnet_cli.inference.uncertainty_limits import Limits

CLOUD = fit_cloud(np.random.default_rng(0).normal(size=(30, 4)))
LIMITS = Limits(CLOUD, unlike=2.0, unlike_share=0.019, margin=0.5, why_unlike="", why_margin="")
OK = ("ok", "")


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
    found = Doubter(limits, ["a", "b", "c"][: len(y)], thresholds).cells(y, p, distance, mask)
    assert tuple(found) == COLUMNS
    return found


def test_no_doubt() -> None:
    assert cells([2.0, 0.0]) == {
        "doubt": "0", "mask": "0", "unlike": "0", "distance": "0.5", "undecided": "0",
        "margin": "2", "why": "",
    }  # fmt: skip


def test_each_flag_has_its_reason() -> None:
    found = cells([2.0, 0.0], mask=("suspect", "small: 3% of the image"))
    assert (found["doubt"], found["mask"]) == ("1", "1")
    assert found["why"] == "mask_suspect: small: 3% of the image"
    assert cells([2.0, 0.0], mask=("missing", ""))["why"] == "mask_missing: no lung mask"
    found = cells([2.0, 0.0], distance=3.0)
    assert (found["doubt"], found["unlike"], found["distance"]) == ("1", "1", "1.5")
    assert found["why"] == (
        "unlike: 1.50 times as far from the training images as the limit, which 1.9 % of images"
        " like them exceed"
    )
    found = cells([0.1, 0.4])
    assert (found["doubt"], found["undecided"], found["margin"]) == ("1", "1", "0.3")
    assert found["why"] == "undecided: b 0.57 or a 0.43"


def test_the_limits_themselves_are_no_doubt() -> None:
    found = cells([0.5, 0.0], distance=2.0)
    assert (found["doubt"], found["unlike"], found["undecided"]) == ("0", "0", "0")


def test_labels_near_their_thresholds_are_named() -> None:
    found = cells([-2.0, 0.1, 3.0], thresholds=[0.1, 0.5, 0.5])
    assert found["why"] == "undecided: a 0.12 (threshold 0.10), b 0.52 (threshold 0.50)"
    assert cells([3.0, 3.0, -3.0], thresholds=[0.1, 0.5, 0.5])["undecided"] == "0"


def test_what_is_not_known_is_empty_with_a_reason() -> None:
    found = cells([2.0, 0.0], limits=Limits(), distance=float("nan"))
    assert (found["doubt"], found["unlike"], found["distance"], found["undecided"]) == (
        "0", "", "", "",
    )  # fmt: skip
    assert found["why"].startswith("unlike_unknown: the model was trained before limits")
    assert "undecided_unknown: the model was trained before limits" in found["why"]


def test_an_answer_that_is_no_number_is_no_prediction() -> None:
    found = cells([float("nan"), 0.0], mask=("suspect", "small: 3%"))
    assert (found["doubt"], found["unlike"], found["margin"]) == ("1", "", "")
    assert found["why"] == (
        "mask_suspect: small: 3%; not_finite: the model's answer is no number; no prediction"
    )


def test_reasons_come_in_the_order_of_the_columns() -> None:
    found = cells([0.0, 0.1], distance=9.0, mask=("suspect", "small: 3%"))
    assert [part.partition(":")[0] for part in found["why"].split("; ")] == [
        "mask_suspect", "unlike", "undecided",
    ]  # fmt: skip
