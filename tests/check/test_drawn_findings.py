"""`isnet check` looks at annotations as `isnet evaluate` will: files, names, boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isnet_cli.check.inputs import check_inputs, describe_check
from isnet_cli.config.schema import Evaluate
from tests.ingest.factory import Messages, config, labels, png

HEAD = "image,class,x,y,width,height\n"


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Eight films of two classes, two of them for the test."""
    for n in range(8):
        png(tmp_path / f"xrays/f{n}.png", n)
    rows = (f"f{n},{'xy'[n % 2]},{('train', 'train', 'val', 'test')[n // 2]}" for n in range(8))
    labels(tmp_path / "labels.csv", *rows, header="file,label,set")
    return tmp_path


def check(folder: Path, boxes: str | None, **data: Any) -> dict[str, Any]:
    if boxes is not None:
        (folder / "boxes.csv").write_text(HEAD + boxes, encoding="utf-8")
    drawn = {"evaluate": Evaluate(annotations=str(folder / "boxes.csv"))}
    return check_inputs(config(folder, **data).model_copy(update=drawn), Messages().context())


def texts(found: dict[str, Any]) -> list[str]:
    return [
        p["text"] for p in found["problems"] if "annotations" in p["text"] or "no such" in p["text"]
    ]


def test_findings_are_joined_and_counted(films: Path) -> None:
    found = check(films, "f6.png,x,1,1,5,5\nf6,x,9,9,4,4\nf1,y,1,1,5,5\n")
    assert found["annotations"] == {
        "test": {"findings": 2, "images": 1, "without": 1, "left_out": {}}
    }
    assert "annotations of set 'test': 2 findings in 1 images, none in 1" in describe_check(found)
    assert texts(found) == []
    assert found["ok"]


def test_what_is_left_out_is_a_warning(films: Path) -> None:
    found = check(films, "f6,x,1,1,5,5\nf6,x,900,9,4,4\nzz,x,1,1,5,5\nf7,y,3,3,0,4\n")
    assert texts(found) == [
        "evaluate.annotations: 1 left out: box outside the image",
        "evaluate.annotations: 1 left out: box without area",
        "evaluate.annotations: 1 left out: names no image of the run",
    ]
    assert found["ok"]


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (None, "no such file or folder"),
        ("f1,x,1,1,5,5\n", "no finding in an image of the set test"),
        ("f6,x,a,1,5,5\n", "expected a number of pixels"),
    ],
)
def test_what_evaluate_would_refuse_is_an_error(films: Path, boxes: str | None, said: str) -> None:
    found = check(films, boxes)
    assert not found["ok"]
    assert "annotations" not in found
    assert any(said in p["text"] for p in found["problems"] if p["severity"] == "error")


def test_a_set_that_does_not_exist_is_told_once(films: Path) -> None:
    (films / "boxes.csv").write_text(HEAD + "f6,x,1,1,5,5\n", encoding="utf-8")
    drawn = Evaluate(annotations=str(films / "boxes.csv"), sets=["tset"])
    settings = config(films).model_copy(update={"evaluate": drawn})
    found = check_inputs(settings, Messages().context())
    assert "annotations" not in found
    assert sum("tset" in p["text"] for p in found["problems"]) == 1


def test_renamed_images_are_found_too(films: Path) -> None:
    found = check(films, "f6.png,x,1,1,5,5\n", privacy={"rename": True})
    assert found["annotations"]["test"]["findings"] == 1
