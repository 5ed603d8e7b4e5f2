"""Findings at other sizes: the share of each pixel against counting of small squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from isnet_cli.annotations.coco import Outlines
from isnet_cli.annotations.findings import (
    Drawing,
    Finding,
    draw_all,
    draw_finding,
    place_in_network,
)
from isnet_cli.config.schema import Config, Limits
from isnet_cli.errors import UnreadableImage
from isnet_cli.images.resize import Frame

FINE = 24  # squares along a side of a pixel


def draw(finding: Finding, original: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    return draw_finding(finding, original, size, Limits())


def cover_slowly(
    box: tuple[float, ...], original: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Share of each pixel by the centres of many small squares."""
    found = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            for a in range(FINE):
                for b in range(FINE):
                    y = (i + (a + 0.5) / FINE) * original[0] / size[0]
                    x = (j + (b + 0.5) / FINE) * original[1] / size[1]
                    found[i, j] += box[0] <= x < box[2] and box[1] <= y < box[3]
    return found / FINE**2


@given(
    st.tuples(*(st.floats(0, 30) for _ in range(4))),
    st.tuples(st.integers(2, 4), st.integers(2, 4)),
)
def test_a_box_covers_the_pixels_that_lie_in_it_by_half(
    ends: tuple[float, ...], size: tuple[int, int]
) -> None:
    box = min(ends[0], ends[2]), min(ends[1], ends[3]), max(ends[0], ends[2]), max(ends[1], ends[3])
    cover, found = cover_slowly(box, (30, 30), size), draw(Finding(box=box), (30, 30), size)
    clear = np.abs(cover - 0.5) > 3 / FINE  # counting is no finer
    if cover.max() > 0.5 + 3 / FINE:
        assert np.array_equal(found[clear], cover[clear] >= 0.5)
    assert found.any() or not cover.any()


def test_a_small_finding_becomes_the_pixel_that_it_covers_most(tmp_path: Path) -> None:
    found = draw(Finding(box=(11, 21, 12, 22)), (100, 100), (10, 10))
    assert np.argwhere(found).tolist() == [[2, 1]]
    mask = np.zeros((100, 100), np.uint8)
    mask[57:59, 33:35] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    found = draw(Finding(mask=str(tmp_path / "m.png")), (100, 100), (10, 10))
    assert np.argwhere(found).tolist() == [[5, 3]]


def test_masks_and_outlines_of_any_size_are_the_image_at_that_size(tmp_path: Path) -> None:
    mask = np.zeros((10, 20), np.uint8)
    mask[2:6, 4:10] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    for finding in (
        Finding(mask=str(tmp_path / "m.png")),
        Finding(outlines=Outlines("a", 10, 20, ([[4, 2, 10, 2, 10, 6, 4, 6]],))),
        Finding(box=(80.0, 40.0, 200.0, 120.0)),
    ):
        found = draw(finding, (200, 400), (5, 10))
        assert np.argwhere(found).tolist() == [[y, x] for y in (1, 2) for x in (2, 3, 4)]
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(tmp_path / "black.png")
    assert not draw(Finding(mask=str(tmp_path / "black.png")), (200, 400), (5, 10)).any()


def test_a_mask_that_is_not_shaped_like_the_image_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((10, 11), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UnreadableImage, match="proportions") as caught:
        draw(Finding(mask=str(tmp_path / "m.png")), (200, 400), (5, 10))
    assert caught.value.reason == "mask_size"
    Image.fromarray(np.ones((10, 21), np.uint8)).save(tmp_path / "near.png")  # rounded
    assert draw(Finding(mask=str(tmp_path / "near.png")), (200, 400), (5, 10)).all()


def test_a_finding_lies_in_the_network_where_the_image_lies() -> None:
    frame = Frame((100, 50), (32, 32))
    top, left, height, width = frame.inner
    assert (top, left, height, width) == (0, 8, 32, 16)
    whole = place_in_network(
        draw(Finding(box=(25, 50, 50, 100)), (100, 50), (height, width)), frame
    )
    assert whole.sum() == 16 * 8
    assert whole[16:, 16:24].all()


@pytest.mark.parametrize("workers", [0, 1])
def test_all_are_drawn_or_say_why_not(tmp_path: Path, workers: int) -> None:
    mask = np.zeros((5, 5), np.uint8)
    mask[1, 2] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    findings = [
        Finding(mask=str(tmp_path / "m.png")), Finding(box=(0, 0, 1, 1)),
        Finding(mask=str(tmp_path / "bad.png")), Finding(mask=str(tmp_path / "gone.png")),
    ]  # fmt: skip
    config = Config.model_validate({"machine": {"workers": workers}})
    drawings = [Drawing(one, (5, 5), (5, 5), Limits()) for one in findings]
    found = draw_all(drawings, config)
    assert found is not None
    assert [one if isinstance(one, str) else np.argwhere(one).tolist() for one in found][:2] == [
        [[1, 2]], [[0, 0]]
    ]  # fmt: skip
    assert [str(one).partition(":")[0] for one in found[2:]] == ["mask_unreadable", "mask_missing"]
    assert draw_all(drawings, config, lambda: True) is None
