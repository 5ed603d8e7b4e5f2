"""Images meet their masks: tables, folders, left and right, COCO; ambiguity is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isnet_cli.config.segmenter import Pairs
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.masks.segmenter.pairs import find_pairs, read_mask
from tests.masks.factory import lungs, write_mask
from tests.masks.segmenter.factory import write_pairs

SIZE = (40, 30)


def pairs_of(**data: Any) -> Pairs:
    return Pairs.model_validate({k: str(v) if isinstance(v, Path) else v for k, v in data.items()})


def images(root: Path, *names: str) -> Path:
    for name in names:
        write_mask(root / name, np.arange(1200, dtype=np.uint8).reshape(SIZE))
    return root


def test_a_table_tells_everything(tmp_path: Path) -> None:
    found = find_pairs(pairs_of(table=write_pairs(tmp_path, 4)))
    assert [pair.name for pair in found] == [f"image_{n}" for n in range(4)]
    assert {pair.source for pair in found} == {"north", "south"}
    assert [pair.label for pair in found] == ["normal", "normal", "ill", "ill"]
    assert found[0].patient == found[2].patient != found[1].patient
    assert all(pair.image.is_file() and read_mask(pair).any() for pair in found)
    assert "p0north" not in repr(found[0])


def test_left_and_right_are_one_mask(tmp_path: Path) -> None:
    mask = lungs(SIZE)
    images(tmp_path / "images", "a.png", "b.png")
    for side, half in (("left", slice(15, None)), ("right", slice(0, 15))):
        part = np.zeros_like(mask)
        part[:, half] = mask[:, half]
        write_mask(tmp_path / "masks" / f"a_{side}.png", part)
    one, other = find_pairs(pairs_of(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert np.array_equal(read_mask(one), mask)
    with pytest.raises(UnreadableImage, match="no mask") as caught:
        read_mask(other)
    assert caught.value.reason == "mask_missing"
    (tmp_path / "t.csv").write_text("file,mask\nimages/a.png,masks/a_left.png|masks/a_right.png\n")
    (pair,) = find_pairs(pairs_of(table=tmp_path / "t.csv"))
    assert np.array_equal(read_mask(pair), mask)
    assert pair.patient == pair.name == "a"


def test_coco_pictures_meet_images_by_name(tmp_path: Path) -> None:
    root = images(tmp_path / "images", "x/a.png", "y/a.png", "c.png")
    listed = [
        {"id": n, "file_name": name, "height": 40, "width": 30}
        for n, name in enumerate(("x/a.png", "y/a.png"))
    ]
    corners = [[0, 0, 10, 0, 10, 10, 0, 10]], [[0, 0, 20, 0, 20, 20, 0, 20]]
    notes = [{"image_id": n, "segmentation": part} for n, part in enumerate(corners)]
    (tmp_path / "m.json").write_text(json.dumps({"images": listed, "annotations": notes}))
    found = find_pairs(pairs_of(images=root, masks=tmp_path / "m.json"))
    assert [pair.name for pair in found] == ["c", "x/a", "y/a"]
    assert [int(read_mask(pair).sum()) for pair in found[1:]] == [100, 400]
    with pytest.raises(UnreadableImage):
        read_mask(found[0])


def test_ambiguous_coco_pictures_are_refused(tmp_path: Path) -> None:
    root = images(tmp_path / "images", "a.png")
    image = {"file_name": "a.png", "height": 40, "width": 30}
    tree = {
        "images": [{"id": 1, **image}, {"id": 2, **image}],
        "annotations": [{"image_id": n, "segmentation": []} for n in (1, 2)],
    }
    (tmp_path / "m.json").write_text(json.dumps(tree))
    with pytest.raises(IsnetError, match=r"a\.png stands for 2 pictures"):
        find_pairs(pairs_of(images=root, masks=tmp_path / "m.json"))


def test_names_are_left_out_and_misspelt_ones_told(tmp_path: Path) -> None:
    table = write_pairs(tmp_path, 4)
    found = find_pairs(pairs_of(table=table, exclude=["image_2"]))
    assert [pair.name for pair in found] == ["image_0", "image_1", "image_3"]
    with pytest.raises(IsnetError, match=r"1 of 2 names are no image \(image_9\)") as caught:
        find_pairs(pairs_of(table=table, exclude=["image_2", "image_9"]))
    assert "image_0" in caught.value.fix
    with pytest.raises(IsnetError, match="no image of east, sources are north, south"):
        find_pairs(pairs_of(table=table, held_out_sources=["east"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mask\na,b\n", "no column file, found image, mask"),
        ("file,mask\na/1.png,x\na/1.png,y\n", r"a/1\.png stands in two rows"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(IsnetError, match=message) as caught:
        find_pairs(pairs_of(table=tmp_path / "t.csv"))
    assert caught.value.kind == "data"


def test_equal_file_names_keep_their_folders(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,mask\na/1.png,x\nb/1.png,y\n")
    assert [p.name for p in find_pairs(pairs_of(table=tmp_path / "t.csv"))] == [
        "a/1.png",
        "b/1.png",
    ]
