"""COCO annotations: run lengths and polygons against slow transcriptions, and damaged files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isnet_cli.annotations.coco import Outlines, decompress, draw, fill_polygon, read_coco
from isnet_cli.errors import IsnetError, UnreadableImage

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
MASKS = SHAPES.flatmap(lambda shape: arrays(np.bool_, shape))


def runs_slowly(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, background first, pixel by pixel."""
    runs, level = [0], False
    for x in range(mask.shape[1]):
        for y in range(mask.shape[0]):
            if bool(mask[y, x]) != level:
                level = not level
                runs.append(0)
            runs[-1] += 1
    return runs


def compress_slowly(runs: list[int]) -> str:
    """`rleToString` of cocoapi's maskApi.c, transcribed."""
    text = ""
    for i, run in enumerate(runs):
        x = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            c = x & 0x1F
            x >>= 5
            more = x != -1 if c & 0x10 else x != 0
            if more:
                c |= 0x20
            text += chr(c + 48)
    return text


def inside_slowly(corners: list[tuple[float, float]], x: float, y: float) -> bool:
    """Even-odd rule with a ray to the right (W. R. Franklin's pnpoly)."""
    inside = False
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0:
            inside = not inside
    return inside


@given(MASKS)
@settings(max_examples=60, deadline=None)
def test_run_lengths_come_back_as_the_mask(mask: np.ndarray) -> None:
    runs, size = runs_slowly(mask), list(mask.shape)
    for counts in (runs, compress_slowly(runs)):
        outlines = Outlines("a.png", *mask.shape, ({"size": size, "counts": counts},))
        assert np.array_equal(draw(outlines), mask)


@given(st.lists(st.integers(0, 10**7), max_size=12))
@settings(max_examples=60, deadline=None)
def test_compressed_numbers_of_any_size_come_back(runs: list[int]) -> None:
    assert decompress(compress_slowly(runs)) == runs


@given(st.lists(st.tuples(st.floats(-3, 15), st.floats(-3, 15)), min_size=3, max_size=7))
@settings(max_examples=60, deadline=None)
def test_a_polygon_holds_the_pixels_whose_centres_are_inside(
    corners: list[tuple[float, float]],
) -> None:
    found = fill_polygon(np.array(corners), (11, 9))
    expected = [[inside_slowly(corners, x + 0.5, y + 0.5) for x in range(9)] for y in range(11)]
    differs = np.argwhere(found != np.array(expected))
    # rounding may decide a centre that lies on an edge
    assert all(_on_edge(corners, x + 0.5, y + 0.5) for y, x in differs)


def _on_edge(corners: list[tuple[float, float]], x: float, y: float) -> bool:
    for a, b in zip(corners, [*corners[1:], corners[0]], strict=True):
        low, high = sorted((a[1], b[1]))
        if low - 1e-9 <= y <= high + 1e-9 and high > low:
            crossing = a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
            if abs(crossing - x) < 1e-6:
                return True
    return False


def test_a_square_covers_its_pixels() -> None:
    mask = draw(Outlines("a", 6, 7, ([[1, 2, 4, 2, 4, 5, 1, 5]],)))
    assert np.array_equal(np.argwhere(mask).min(0), [2, 1])
    assert np.array_equal(np.argwhere(mask).max(0), [4, 3])
    assert mask.sum() == 9


def coco(**changes: Any) -> dict[str, Any]:
    square = [[1, 2, 4, 2, 4, 5, 1, 5]]
    return {
        "images": [
            {"id": 1, "file_name": "x/a.png", "height": 6, "width": 7},
            {"id": 2, "file_name": "b.png", "height": 6, "width": 7},
        ],
        "categories": [{"id": 5, "name": "Left lung"}, {"id": 6, "name": "heart"}],
        "annotations": [
            {"image_id": 1, "category_id": 5, "segmentation": square},
            {"image_id": 1, "category_id": 6, "segmentation": [[0, 0, 7, 0, 7, 6, 0, 6]]},
        ],
        **changes,
    }


def write(path: Path, tree: Any) -> Path:
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def test_only_lungs_are_taken_where_categories_tell(tmp_path: Path) -> None:
    (found,) = read_coco(write(tmp_path / "a.json", coco()))
    assert (found.file, found.height, found.width) == ("x/a.png", 6, 7)
    assert draw(found).sum() == 9
    (found,) = read_coco(write(tmp_path / "b.json", coco(categories=[])))
    assert draw(found).all()


@pytest.mark.parametrize(
    "tree",
    [[], {}, coco(images=[{"id": 1}]), coco(annotations=[{"image_id": 1}]), coco(images=3)],
    ids=str,
)
def test_other_json_is_refused(tmp_path: Path, tree: Any) -> None:
    with pytest.raises(IsnetError, match="a COCO annotation file") as caught:
        read_coco(write(tmp_path / "a.json", tree))
    assert caught.value.kind == "data"


@pytest.mark.parametrize(
    "part",
    [
        [[1, 2, 3]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [["a"] * 6],
        {"size": [6, 7], "counts": [3, 4]},
        {"size": [6, 7], "counts": [-1, 43]},
        {"size": [6, 7], "counts": "P\x00"},
        {"size": [6, 7], "counts": "p"},
        {"size": [6, 7]},
        {"size": 6, "counts": [42]},
        7,
    ],
    ids=str,
)
def test_a_damaged_annotation_costs_one_image(part: Any) -> None:
    with pytest.raises(UnreadableImage) as caught:
        draw(Outlines("a", 6, 7, (part,)))
    assert caught.value.reason == "mask_unreadable"


def test_run_lengths_of_another_size_are_named() -> None:
    with pytest.raises(
        UnreadableImage, match=r"of 6 x 7 pixels, expected the picture's 7 x 6"
    ) as e:
        draw(Outlines("a", 6, 7, ({"size": [7, 6], "counts": [42]},)))
    assert e.value.reason == "mask_size"


def test_a_huge_annotation_is_not_drawn() -> None:
    with pytest.raises(UnreadableImage, match="1000000 x 1000000"):
        draw(Outlines("a", 10**6, 10**6, ()))
