"""What `isnet init` finds in folders as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.check.survey import survey_folder
from isnet_cli.errors import IsnetError
from tests.cli.factory import tree, write_images, write_inputs


def test_images_masks_and_labels_beside_each_other(tmp_path: Path) -> None:
    write_inputs(tmp_path, 6)
    (tmp_path / "xrays/readme.txt").write_text("x", encoding="utf-8")
    before = tree(tmp_path)
    found = survey_folder(tmp_path)
    assert found.images == tmp_path / "xrays"
    assert (found.count, found.formats) == (6, ("png",))
    assert (found.labels, found.matched) == (tmp_path / "labels.csv", 6)
    assert (found.task, found.classes, found.columns) == ("multiclass", ("sick", "well"), ())
    assert found.sources == ("here",)
    assert (found.masks, found.masked) == (tmp_path / "masks", 6)
    assert tree(tmp_path) == before


def test_the_folder_of_images_itself(tmp_path: Path) -> None:
    write_inputs(tmp_path, 4)
    found = survey_folder(tmp_path / "xrays")
    assert found.images == tmp_path / "xrays"
    assert found.labels == tmp_path / "labels.csv"
    assert found.masks == tmp_path / "masks"


def test_the_table_that_fits_more_images_wins(tmp_path: Path) -> None:
    write_inputs(tmp_path, 6)
    (tmp_path / "a_other.csv").write_text("file,label\nq.png,x\nr.png,y\n", encoding="utf-8")
    found = survey_folder(tmp_path)
    assert found.labels == tmp_path / "labels.csv"
    assert len(found.notes) == 1
    assert found.notes[0].startswith("a_other.csv: not used as labels (")


def test_several_findings_per_image(tmp_path: Path) -> None:
    write_images(tmp_path / "x", range(4))
    rows = "".join(f"f0{n}.png,{n % 2},1,{n // 2}\n" for n in range(4))
    (tmp_path / "x/findings.csv").write_text(
        f"image,effusion,mass,nodule\n{rows}", encoding="utf-8"
    )
    found = survey_folder(tmp_path / "x")
    assert found.task == "multilabel"
    assert found.columns == ("effusion", "mass", "nodule")
    assert found.matched == 4


def test_a_folder_per_class(tmp_path: Path) -> None:
    write_images(tmp_path / "well", range(0, 6, 2))
    write_images(tmp_path / "sick", range(1, 6, 2))
    found = survey_folder(tmp_path)
    assert found.labels is None
    assert (found.classes, found.matched) == (("sick", "well"), 6)


def test_images_alone(tmp_path: Path) -> None:
    write_images(tmp_path, range(3))
    (tmp_path / "scan").write_bytes(b"nonsense")
    found = survey_folder(tmp_path)
    assert (found.count, found.formats) == (4, ("png", "other"))
    assert (found.labels, found.classes, found.masks, found.matched) == (None, (), None, 0)


def test_a_named_label_file_must_fit(tmp_path: Path) -> None:
    write_inputs(tmp_path, 4)
    bad = tmp_path / "bad.csv"
    bad.write_text("file,label\nq.png,x\nr.png,y\n", encoding="utf-8")
    with pytest.raises(IsnetError) as caught:
        survey_folder(tmp_path, bad)
    assert caught.value.kind == "data"
    assert survey_folder(tmp_path, tmp_path / "labels.csv").matched == 4


def test_nothing(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="no image found"):
        survey_folder(tmp_path)
