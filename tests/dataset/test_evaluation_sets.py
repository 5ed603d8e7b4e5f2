"""Names, labels and pieces of the test sets."""

from __future__ import annotations

import pytest

from isnet_cli.dataset.evaluation_sets import (
    choose_chunk_size,
    choose_sets,
    list_versions,
    select_version,
    split_into_chunks,
)
from isnet_cli.images.types import Row
from tests.support.runs import small_config

SHAPES = small_config(bias={"kind": "shapes"})


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10])
def test_chunks_cover_all_in_order(size: int) -> None:
    pieces = list(split_into_chunks(range(7), size))
    assert [i for piece in pieces for i in piece] == list(range(7))
    assert all(0 < len(piece) <= size for piece in pieces)


@pytest.mark.parametrize(
    ("side", "batch", "images"), [(224, 32, 64), (224, 200, 200), (1024, 200, 32), (2048, 1, 8)]
)
def test_memory_is_bounded_by_fewer_of_larger_images(side: int, batch: int, images: int) -> None:
    config = small_config(model={"input": [side, side]}, evaluate={"batch_size": batch})
    assert choose_chunk_size(config) == images


def test_versions_exist_for_labelled_images_of_a_biased_run_alone() -> None:
    rows = [Row(key="1", label="a"), Row(key="2")]
    assert list_versions(rows, small_config()) == ("standard",)
    assert list_versions(rows[1:], SHAPES) == ("standard",)
    assert list_versions(rows, SHAPES) == ("biased", "standard", "deceiving")
    assert select_version(rows, "biased") == [0]
    assert select_version(rows, "standard") == [0, 1]


def test_sets_keep_the_order_asked_for() -> None:
    rows = [Row(key=str(i), set=name) for i, name in enumerate(["train", "a", "b", "a", ""])]
    assert list(choose_sets(rows, ["b", "train"], "k")) == ["b", "train"]
    found = choose_sets(rows, None, "k")
    assert {name: [row.key for row in part] for name, part in found.items()} == {
        "a": ["1", "3"],
        "b": ["2"],
    }
