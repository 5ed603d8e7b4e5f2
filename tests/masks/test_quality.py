"""Verdicts on lung masks: drawn cases of each fault, and the manual masks of real images."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from isnet_cli.images.mask_files import load_mask
from isnet_cli.masks.quality import QC_FIELDS, assess, missing, probability_margin
from tests.support.paths import ROOT

TB = ROOT.parent / "shared" / "data" / "tb"
Mask = NDArray[np.bool_]


def ellipse(height: int, width: int, box: tuple[float, float, float, float]) -> Mask:
    """A filled ellipse; `box` is (centre y, centre x, half height, half width) in shares."""
    y, x = np.mgrid[:height, :width]
    cy, cx, h, w = box
    y, x = (y + 0.5) / height - cy, (x + 0.5) / width - cx
    return np.asarray((y / h) ** 2 + (x / w) ** 2 <= 1)


def lungs(height: int = 300, width: int = 280, left: float = 1.0) -> Mask:
    """Two ellipses, the left one scaled."""
    right = ellipse(height, width, (0.5, 0.27, 0.33, 0.15))
    return right | ellipse(height, width, (0.5, 0.73, 0.33 * left, 0.15 * left))


def codes(reason: str) -> list[str]:
    return [part.partition(":")[0] for part in reason.split("; ") if part]


def test_figures_of_two_ellipses() -> None:
    quality = assess(lungs())
    assert quality.verdict == "ok"
    assert quality.reason == ""
    assert quality.area == pytest.approx(2 * np.pi * 0.33 * 0.15, abs=0.003)
    assert quality.balance == pytest.approx(1.0, abs=0.01)
    assert (quality.components, quality.borders, quality.margin) == (2, 0, None)


def test_figures_do_not_depend_on_the_resolution() -> None:
    small, large = assess(lungs(left=0.8)), assess(lungs(2400, 2240, left=0.8))
    assert large.area == pytest.approx(small.area, abs=0.002)
    assert large.balance == pytest.approx(small.balance, abs=0.02)
    assert large.components == small.components == 2


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (ellipse(300, 280, (0.5, 0.5, 0.1, 0.1)), "small"),
        (~ellipse(300, 280, (0.5, 0.5, 0.3, 0.3)), "large"),
        (ellipse(300, 280, (0.5, 0.25, 0.4, 0.2)), "one-sided"),
        (lungs(left=0.4), "one-sided"),
        (~ellipse(300, 280, (0.5, 0.5, 0.45, 0.45)), "borders"),
    ],
)
def test_masks_unlike_lungs_are_suspect(mask: Mask, expected: str) -> None:
    quality = assess(mask)
    assert quality.verdict == "suspect"
    assert expected in codes(quality.reason)


def test_scattered_pieces_are_suspect_and_specks_are_not_counted() -> None:
    mask = lungs()
    mask[::50, ::50] = True
    assert assess(mask).components == 2
    for x in (0.05, 0.5, 0.95):
        mask |= ellipse(300, 280, (0.9, x, 0.04, 0.03))
    quality = assess(mask)
    assert quality.components == 5
    assert codes(quality.reason) == ["pieces"]


def test_lungs_that_meet_in_the_middle_are_balanced() -> None:
    mask = lungs()
    mask[140:150, 60:220] = True
    quality = assess(mask)
    assert (quality.components, quality.verdict) == (1, "ok")
    assert quality.balance == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("mask", "code"),
    [
        (ellipse(300, 280, (0.3, 0.25, 0.2, 0.15)) | ellipse(300, 280, (0.7, 0.75, 0.2, 0.15)),
         "tilted"),
        (ellipse(300, 280, (0.5, 0.25, 0.12, 0.2)) | ellipse(300, 280, (0.5, 0.75, 0.12, 0.2)),
         "flat"),
        (ellipse(300, 280, (0.5, 0.5, 0.35, 0.35)), "merged"),
    ],
)  # fmt: skip
def test_shapes_unlike_lungs_are_suspect(mask: Mask, code: str) -> None:
    quality = assess(mask)
    assert quality.verdict == "suspect"
    assert code in codes(quality.reason)


def test_boxes_and_ribbons_are_no_lungs() -> None:
    boxes = np.zeros((300, 280), bool)
    boxes[60:240, 30:110] = boxes[60:240, 170:250] = True
    assert assess(boxes).fill == 1.0
    assert codes(assess(boxes).reason) == ["outline"]
    ribbons = boxes.copy()
    ribbons[70:230, 40:100] = ribbons[70:230, 180:240] = False
    ribbons[:, [105, 245]] = False
    ribbons[150:, 100:106] = ribbons[150:, 240:246] = False
    assert "outline" in codes(assess(ribbons).reason)


def test_shape_by_hand() -> None:
    mask = np.zeros((100, 100), bool)
    mask[20:60, 10:30] = True  # centre 39.5, 19.5; 40 x 20
    mask[30:80, 60:85] = True  # centre 54.5, 72; 50 x 25
    quality = assess(mask)
    assert quality.tilt == pytest.approx(np.degrees(np.arctan(15 / 52.5)))
    assert (quality.tall, quality.fill, quality.waist) == (2.0, 1.0, 0.0)


def test_a_picture_in_which_the_network_knows_nothing_is_no_chest_image() -> None:
    quality = assess(lungs(), np.where(lungs(), 0.7, 0.3).astype(np.float32))
    assert quality.verdict == "missing"
    assert quality.reason.startswith("not_chest: margin 0.40")
    assert quality.margin == pytest.approx(0.4)
    assert quality.area is None


def test_an_empty_mask_is_missing() -> None:
    quality = assess(np.zeros((20, 30), bool))
    assert quality.verdict == "missing"
    assert codes(quality.reason) == ["empty"]
    assert quality.area is None


def test_margin_by_hand() -> None:
    probability = np.array([[0.0, 0.04, 1.0, 0.75], [0.5, 0.05, 0.0, 0.0]], np.float32)
    # counted: 1.0, 0.75, 0.5, 0.05 -> |2p - 1| = 1, 0.5, 0, 0.9
    assert probability_margin(probability) == pytest.approx(2.4 / 4)
    assert probability_margin(np.zeros((2, 2), np.float32)) == 0.0


def test_an_undecided_network_is_suspect() -> None:
    mask = lungs()
    sure = np.where(mask, 0.99, 0.01).astype(np.float32)
    assert assess(mask, sure).verdict == "ok"
    quality = assess(mask, np.where(mask, 0.88, 0.01).astype(np.float32))
    assert quality.verdict == "suspect"
    assert codes(quality.reason) == ["unsure"]


def test_lines_of_the_table() -> None:
    cells = assess(lungs()).cells("a/b", "file")
    assert tuple(cells) == QC_FIELDS
    assert cells["area"] == "0.3110"
    assert cells["margin"] == ""
    gone = missing("mask_size: other").cells("a/b", "file")
    assert (gone["area"], gone["verdict"], gone["reason"]) == ("", "missing", "mask_size: other")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not TB.is_dir(), reason="no real images beside the checkout")
def test_manual_masks_are_ok() -> None:
    """643 of the 644 manual masks; the exception is a lung destroyed by tuberculosis."""
    with (TB / "labels.csv").open(encoding="utf-8") as file:
        masks = [row["mask"] for row in csv.DictReader(file)]
    verdicts = {mask: assess(load_mask(TB / mask)) for mask in masks}
    assert Counter(q.verdict for q in verdicts.values()) == {"ok": 643, "suspect": 1}
    (odd,) = [mask for mask, quality in verdicts.items() if quality.verdict != "ok"]
    assert odd == "masks/CHNCXR_0603_1.png"
    assert codes(verdicts[odd].reason) == ["one-sided"]
