"""Annotations of a run: names find their images, coordinates their pixels, the rest is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isnet_cli.annotations.findings import Finding
from isnet_cli.annotations.read import (
    AMBIGUOUS,
    EMPTY,
    OTHER_SIZE,
    OUTSIDE,
    UNKNOWN,
    Annotations,
    check_annotations,
    find_salt,
    hash_annotations,
    read_all_annotations,
)
from isnet_cli.config.schema import Config
from isnet_cli.core.pseudonyms import pseudonym, read_salt
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row

ROWS = [
    Row("a/one", height=100, width=200, set="test"),
    Row("a/two", height=100, width=100, set="test"),
    Row("b/two", height=100, width=100, set="test"),
    Row("seen", height=100, width=100, set="train"),
]


def read(
    annotations: Any, rows: list[Row] | None = None, folder: Path = Path(), **data: Any
) -> dict[str, Annotations]:
    config = Config.model_validate({"evaluate": {"annotations": annotations}, "data": data})
    rows = ROWS if rows is None else rows
    sets: dict[str, list[Row]] = {}
    for row in rows:
        if row.set != "train":
            sets.setdefault(row.set, []).append(row)
    return read_all_annotations(config, find_salt(config, RunFolder(folder)), sets, rows)


def table(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(["image,x,y,width,height", *lines]) + "\n")
    return str(path)


def test_boxes_find_their_images_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    boxes = (
        "one.png,10,20,30,40", "ONE,150,80,100,100", "x/a/two.dcm,1,2,3,4", "b\\two,5,5,5,5",
        "two,1,1,1,1", "other,1,1,1,1", "other2,1,1,1,1", "seen,1,1,9,9", "one,0,0,0,5",
        "one,5,5,-1,5", "one,300,5,5,5", "a/one,,,,",
    )  # fmt: skip
    found = read(table(tmp_path, *boxes))["test"]
    assert found.findings == {
        "a/one": (Finding(box=(10, 20, 40, 60)), Finding(box=(150, 80, 200, 100))),  # cut
        "a/two": (Finding(box=(1, 2, 4, 6)),),
        "b/two": (Finding(box=(5, 5, 10, 10)),),
    }
    assert found.left_out == {AMBIGUOUS: 1, UNKNOWN: 2, EMPTY: 2, OUTSIDE: 1}


def test_a_whole_name_of_another_set_is_none_of_this_one(tmp_path: Path) -> None:
    """`c/two` is an image of training: neither ambiguous nor, where alone, another's `two`."""
    boxes = table(tmp_path, "c/two.png,1,1,2,2", "b/two.png,1,1,2,2")
    rows = [*ROWS, Row("c/two", height=100, width=100, set="train")]
    found = read(boxes, rows)["test"]
    assert set(found.findings) == {"b/two"}
    assert found.left_out == {}
    found = read(boxes, [row for row in rows if row.key != "a/two"])["test"]
    assert found.findings == {"b/two": (Finding(box=(1, 1, 3, 3)),)}


def test_boxes_of_another_size_are_scaled_and_of_another_shape_left_out(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    path.write_text(
        "image,xmin,ymin,xmax,ymax,width,height\none,100,100,200,300,2000,1000\n"
        "a/two,1,1,9,9,2000,1000\n"
    )
    found = read(str(path))["test"]
    assert found.findings == {"a/one": (Finding(box=(10, 10, 20, 30)),)}
    assert found.left_out == {OTHER_SIZE: 1}


def test_coco_has_outlines_boxes_and_pictures_without_any(tmp_path: Path) -> None:
    tree = {
        "images": [
            {"id": 1, "file_name": "one.png", "height": 50, "width": 100},
            {"id": 2, "file_name": "b/two.png", "height": 100, "width": 100},
            {"id": 3, "file_name": "a/two.png", "height": 100, "width": 100},
        ],
        "categories": [{"id": 7, "name": "cavity"}],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "segmentation": []},
            {"image_id": 2, "segmentation": [[0, 0, 9, 0, 9, 9]], "bbox": [0, 0, 9, 9]},
        ],
    }
    path = tmp_path / "c.json"
    path.write_text(json.dumps(tree))
    found = read(str(path))["test"]
    assert found.findings["a/one"] == (Finding("cavity", (2, 4, 8, 12)),)
    (outlined,) = found.findings["b/two"]
    assert outlined.outlines is not None
    assert outlined.outlines.parts == ([[0, 0, 9, 0, 9, 9]],)
    assert set(found.findings) == {"a/one", "b/two"}
    tree["annotations"] = [{"image_id": 1}]
    path.write_text(json.dumps(tree))
    with pytest.raises(IsnetError, match="segmentation: missing"):
        read(str(path))


def test_a_folder_of_masks_is_found_by_names(tmp_path: Path) -> None:
    for name in ("one_mask.png", "b/two.png", "nobody.png", "train/seen.png"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ones((4, 4), np.uint8)).save(tmp_path / "m" / name)
    found = read(str(tmp_path / "m"))["test"]
    assert {key: len(own) for key, own in found.findings.items()} == {"a/one": 1, "b/two": 1}
    assert found.findings["a/one"][0].mask.endswith("one_mask.png")
    assert found.left_out == {UNKNOWN: 1}


def test_each_set_may_have_its_own_file(tmp_path: Path) -> None:
    rows = [Row("x", height=9, width=9, set="one"), Row("y", height=9, width=9, set="two")]
    boxes = table(tmp_path, "x,1,1,2,2", "y,1,1,2,2")
    assert {n: set(a.findings) for n, a in read(boxes, rows).items()} == {
        "one": {"x"},
        "two": {"y"},
    }
    assert list(read({"two": boxes}, rows)) == ["two"]
    assert read(None, rows) == {}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path / "none.csv", "no such file or folder"),
        (lambda path: table(path, "other,1,1,1,1"), "no finding in an image of the set test"),
        (lambda path: table(path, "one,,,,"), "no finding in an image"),
        (lambda path: path, "no picture found"),
    ],
)
def test_a_source_without_any_use_is_refused(tmp_path: Path, make: Any, said: str) -> None:
    with pytest.raises(IsnetError, match=said) as caught:
        read(str(make(tmp_path)))
    assert caught.value.kind == "data"
    assert caught.value.fix


def test_pseudonyms_are_found_by_the_whole_path_alone(tmp_path: Path) -> None:
    ingest = RunFolder(tmp_path / "run").stage_dir("ingest")
    ingest.mkdir(parents=True)
    (ingest / ".salt").write_bytes(b"0123456789abcdef0123")
    salt = read_salt(ingest / ".salt")
    rows = [Row(pseudonym(salt, name, 16), height=9, width=9, set="t") for name in ("d/x", "y")]
    boxes = table(tmp_path, "d/x.png,1,1,2,2", "x.png,1,1,2,2", "y,1,1,2,2")
    found = read(boxes, rows, tmp_path / "run", privacy={"rename": True})["t"]
    assert set(found.findings) == {row.key for row in rows}
    assert found.left_out == {UNKNOWN: 1}
    (tmp_path / "m" / "d").mkdir(parents=True)
    Image.fromarray(np.ones((9, 9), np.uint8)).save(tmp_path / "m" / "d" / "x.png")
    masks = read(str(tmp_path / "m"), rows, tmp_path / "run", privacy={"rename": True})["t"]
    assert set(masks.findings) == {rows[0].key}


def test_content_and_names_are_hashed(tmp_path: Path) -> None:
    def digest(source: Path) -> list[tuple[str, str]]:
        return hash_annotations(Config.model_validate({"evaluate": {"annotations": str(source)}}))

    boxes = Path(table(tmp_path, "x,1,1,2,2"))
    before = digest(boxes)
    table(tmp_path, "x,1,1,2,3")
    assert digest(boxes) != before
    folder = tmp_path / "m"
    folder.mkdir()
    Image.fromarray(np.ones((9, 9), np.uint8)).save(folder / "x.png")
    before = digest(folder)
    (folder / "x.png").rename(folder / "y.png")
    assert digest(folder) != before
    with pytest.raises(IsnetError, match="no such file"):
        digest(tmp_path / "gone.csv")
    assert hash_annotations(Config()) == []


def test_a_source_is_refused_before_there_are_images(tmp_path: Path) -> None:
    def refuse(source: Path, said: str) -> None:
        config = Config.model_validate({"evaluate": {"annotations": {"test": str(source)}}})
        with pytest.raises(IsnetError, match=said):
            check_annotations(config)

    refuse(tmp_path / "gone", "no such file")
    refuse(tmp_path, "no picture found")
    (tmp_path / "b.csv").write_text("image,label\na,b\n")
    refuse(tmp_path / "b.csv", "no columns with x, y, width and height")
    (tmp_path / "c.json").write_text("[]")
    refuse(tmp_path / "c.json", "COCO")
    check_annotations(Config())
    good = table(tmp_path, "one,1,1,2,2")
    check_annotations(Config.model_validate({"evaluate": {"annotations": good}}))
