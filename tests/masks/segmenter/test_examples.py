"""Images of a training: what is skipped, how patients are split out, how often images are drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isnet_cli.config.segmenter import Pairs
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.images.resize import Frame
from isnet_cli.masks.segmenter.examples import (
    SIZE,
    Example,
    is_phantom,
    make_phantom_examples,
    make_phantom_pairs,
    read_examples,
    read_pair,
    split_by_patient,
    weigh_images,
)
from isnet_cli.masks.segmenter.pairs import Pair, find_pairs
from isnet_models import lung_unet
from tests.masks.factory import lungs, write_mask
from tests.masks.segmenter.factory import write_pairs


def fake(patient: str, source: str = "north", name: str | None = None) -> Example:
    blank = np.zeros((2, 2))
    pair = Pair(name or patient, Path(), "", patient, source)
    return Example(pair, (2, 2), blank.astype(np.float16), blank.astype(np.uint8))


def test_processes_that_read_pairs_need_no_torch(child_environment: dict[str, str]) -> None:
    """It takes seconds to load, and most of a small machine's memory."""
    code = "import sys, isnet_cli.masks.segmenter.examples; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=child_environment, check=True)
    assert lung_unet.SIZE == SIZE


def test_images_that_cannot_be_used_become_rows(tmp_path: Path) -> None:
    data = Pairs(table=str(write_pairs(tmp_path, 5)))
    (tmp_path / "images/image_0.png").write_bytes(b"no picture")
    write_mask(tmp_path / "masks/image_1.png", lungs((50, 60)))
    (tmp_path / "masks/image_2.png").unlink()
    write_mask(tmp_path / "masks/image_3.png", np.arange(9000, dtype=np.uint8).reshape(90, 100))
    examples, skipped = read_examples(find_pairs(data), data, RunContext())
    assert [e.pair.name for e in examples] == ["image_4"]
    found = {row["image"]: row["reason"] for row in skipped}
    assert found.pop("image_0") not in {"mask_size", "mask_missing"}
    assert found == {"image_1": "mask_size", "image_2": "mask_missing", "image_3": "mask_values"}
    assert "60 x 50 pixels, expected the image's" in skipped[1]["detail"]
    assert str(tmp_path) not in str(skipped)


def test_an_example_is_the_letterboxed_image_with_the_share_of_lung(tmp_path: Path) -> None:
    data = Pairs(table=str(write_pairs(tmp_path, 1)))
    (pair,) = find_pairs(data)
    (example,), _ = read_examples([pair], data, RunContext())
    pixels, mask = read_pair(pair, data)
    frame = Frame(mask.shape, (256, 256))
    assert example.size == mask.shape
    assert np.abs(example.image - frame.to_network(pixels)).max() < 1e-3
    assert np.abs(example.share / 255 - frame.to_network(mask.astype(np.float32))).max() < 3e-3


def test_no_patient_is_in_two_parts_and_order_does_not_matter() -> None:
    images = [fake(f"p{n // 3}", "north" if n < 60 else "south", f"f{n}") for n in range(120)]
    data = Pairs(held_out=0.25, validation=0.2)
    split = split_by_patient(images, data, 0)
    parts = {e.pair.patient: set[str]() for e in split}
    for e in split:
        parts[e.pair.patient].add(e.part)
    assert all(len(found) == 1 for found in parts.values())
    count = [sum(found == {part} for found in parts.values())
             for part in ("train", "validation", "held_out")]  # fmt: skip
    assert count == [22, 8, 10]
    again = split_by_patient(images[::-1], data, 0)[::-1]
    assert [e.part for e in again] == [e.part for e in split]
    assert [e.part for e in split_by_patient(images, data, 1)] != [e.part for e in split]


def test_more_validation_does_not_change_what_is_held_out() -> None:
    images = [fake(f"p{n}") for n in range(40)]
    held = [
        {
            e.pair.name
            for e in split_by_patient(images, Pairs(validation=share), 0)
            if e.part == "held_out"
        }
        for share in (0.0, 0.3)
    ]
    assert held[0] == held[1]
    assert len(held[0]) == 6


def test_a_whole_source_is_held_out() -> None:
    images = [fake(f"p{n}", "north" if n < 10 else "south") for n in range(20)]
    split = split_by_patient(images, Pairs(held_out=0, held_out_sources=["south"]), 0)
    assert {e.pair.source for e in split if e.part == "held_out"} == {"south"}
    assert {e.pair.source for e in split if e.part != "held_out"} == {"north"}


def test_too_few_images_are_refused() -> None:
    with pytest.raises(IsnetError, match="no image can be used"):
        split_by_patient([], Pairs(), 0)
    with pytest.raises(IsnetError, match="1 for training and 1 patients for validation"):
        split_by_patient([fake("a"), fake("b")], Pairs(), 0)
    with pytest.raises(IsnetError, match="and 0 patients for validation"):
        split_by_patient([fake("a", name="1"), fake("a", name="2")], Pairs(), 0)
    alone = split_by_patient([fake("a", name="1"), fake("a", name="2")], Pairs(validation=0), 0)
    assert {e.part for e in alone} == {"train"}


def test_phantoms_train_and_are_held_out_but_do_not_validate() -> None:
    made = list(make_phantom_examples(4))
    assert all(is_phantom(e.pair) for e in made)
    split = split_by_patient(
        [*made, *(fake(f"p{n}") for n in range(9))], Pairs(validation=0.3, held_out=0.5), 0
    )
    assert {e.part for e in split if is_phantom(e.pair)} == {"train", "held_out"}
    originals = make_phantom_pairs(4)
    assert set(originals) == {e.pair.name for e in made}
    assert all(originals[e.pair.name][1].shape == e.size for e in made)


def test_phantoms_have_the_share_that_is_set() -> None:
    sources = ["big"] * 400 + ["small"] * 100 + ["phantom-A"] * 90 + ["phantom-B"] * 10
    found = weigh_images(sources, 0.12)
    assert found.sum() == pytest.approx(1)
    assert found[500:].sum() == pytest.approx(0.12)
    assert found[:400].sum() / found[400:500].sum() == pytest.approx(2)  # sqrt(400 / 100)
    both = weigh_images([*sources, *["unlabelled-x"] * 300, *["unlabelled-y"] * 75], 0.1, 0.5)
    assert both[500:600].sum() == pytest.approx(0.1)
    assert both[600:].sum() == pytest.approx(0.5)
    assert both[:500].sum() == pytest.approx(0.4)
    assert both[600:900].sum() / both[900:].sum() == pytest.approx(2)
    for alone in (["big"] * 3, ["phantom-A"] * 3):
        assert weigh_images(alone, 0.12) == pytest.approx(np.full(3, 1 / 3))
