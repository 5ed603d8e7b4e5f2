from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.errors import IsnetError
from isnet_cli.ingest import catalogue
from isnet_cli.ingest.catalogue import Catalogue
from tests.ingest.factory import Messages, config, dicom, labels, mask, png, two_classes


def read(folder: Path, **data: object):
    return Catalogue(config(folder, **data)).read(Messages().context())


def test_collections_are_the_main_images_and_sets_with_images_of_their_own(tmp_path: Path) -> None:
    sets = {"train": {"fraction": 1.0}, "far": {"images": "far", "columns": {"patient": "none"}}}
    found = Catalogue(config(tmp_path, sets=sets, labels={"task": "multilabel"})).collections
    assert [(c.name, c.images) for c in found] == [("", str(tmp_path / "xrays")), ("far", "far")]
    assert found[1].labels.task == "multilabel"
    assert found[1].columns.patient is None
    only = Catalogue(config(tmp_path, images=None, sets={"far": {"images": "far"}})).collections
    assert [c.name for c in only] == ["far"]


def test_names_are_joined_before_a_header_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = two_classes(tmp_path)
    labels(folder / "labels.csv", "a.png,x", "b.png,y")
    monkeypatch.setattr(catalogue, "scan_header", lambda path: pytest.fail("a header was read"))
    with pytest.raises(IsnetError, match="0 of 12 images"):
        read(folder)


def test_headers_join_where_names_do_not(tmp_path: Path) -> None:
    for n in range(4):
        dicom(tmp_path / f"xrays/{n}", n, SOPInstanceUID=f"1.2.{n}", PatientID=f"P{n}")
    labels(tmp_path / "labels.csv", *(f"1.2.{n},{'xy'[n % 2]}" for n in range(4)),
           header="SOPInstanceUID,label")  # fmt: skip
    found = read(tmp_path)
    assert [c.stated.label for c in found.candidates] == ["x", "y", "x", "y"]
    assert [c.header.identity.patient for c in found.candidates] == ["P0", "P1", "P2", "P3"]
    assert found.classes == ("x", "y")
    assert "joined by uid, column 'SOPInstanceUID'" in found.match[""]


def test_keys_of_sets_never_meet_those_of_the_main_images(tmp_path: Path) -> None:
    for name in ("xrays/far/1.png", "xrays/2.png", "far/1.png", "far/3.png"):
        png(tmp_path / name, len(name))
    found = read(tmp_path, sets={"far": {"images": str(tmp_path / "far")}})
    assert [c.key for c in found.candidates] == ["2", "far/1", "far/1~2", "far/3"]


def test_masks_are_no_images_and_are_found_by_folder(tmp_path: Path) -> None:
    folder = two_classes(tmp_path, 4)
    for n in range(3):
        mask(folder / f"xrays/lungs/{n:02}_mask.png")
    found = read(folder, masks={"files": str(folder / "xrays/lungs")})
    assert len(found.candidates) == 4
    assert found.masks_left_out == 3
    assert [Path(c.masks).name for c in found.candidates] == [
        "00_mask.png", "01_mask.png", "02_mask.png", "",
    ]  # fmt: skip


def test_both_lungs_of_a_row(tmp_path: Path) -> None:
    folder = two_classes(tmp_path, 2)
    for side in "lr":
        for n in range(2):
            mask(folder / f"m/{side}{n}.png")
    labels(folder / "labels.csv", "00.png,x,m/l0.png,m/r0.png", "01.png,y,m/l1.png,m/r1.png",
           header="file,label,left mask,right mask")  # fmt: skip
    found = read(folder)
    assert found.candidates[1].masks == f"{folder}/m/l1.png|{folder}/m/r1.png"
    assert found.warnings == ()


def test_lost_masks_are_told_by_name_unless_names_are_hidden(tmp_path: Path) -> None:
    folder = two_classes(tmp_path, 2)
    labels(folder / "labels.csv", "00.png,x,lost.png", "01.png,y,", header="file,label,mask")
    assert read(folder).warnings == ("1 images name a mask file that does not exist, such as 00",)
    hidden = read(folder, privacy={"rename": True})
    assert hidden.warnings == ("1 images name a mask file that does not exist",)


def two_collections(folder: Path, **data: object) -> dict[str, object]:
    """Keys of `data`: images of a north with class x alone and of a south with classes x and y."""
    for n in range(3):
        png(folder / f"north/{n}.png", n)
        png(folder / f"south/{n}.png", 10 + n)
    labels(folder / "north.csv", *(f"north/{n}.png,x" for n in range(3)))
    labels(folder / "south.csv", *(f"south/{n}.png,{'yXy'[n]},s" for n in range(3)),
           header="file,label,source")  # fmt: skip
    parts = {
        name: {"images": str(folder / name), "labels": {"file": str(folder / f"{name}.csv")}}
        for name in ("north", "south")
    }
    return {"images": None, "collections": parts, **data}


def test_several_collections_are_main_images_each_joined_with_its_own_table(tmp_path: Path) -> None:
    found = read(tmp_path, **two_collections(tmp_path))
    assert [(c.key, c.stated.label, c.source) for c in found.candidates] == [
        ("north/0", "x", "north"), ("north/1", "x", "north"), ("north/2", "x", "north"),
        ("south/0", "y", "s"), ("south/1", "x", "s"), ("south/2", "y", "s"),
    ]  # fmt: skip
    assert found.classes == ("x", "y")
    assert list(found.match) == ["collections.north", "collections.south"]


def test_collections_have_the_configured_classes_together(tmp_path: Path) -> None:
    shared = two_collections(tmp_path, labels={"classes": ["y", "x"]})
    assert read(tmp_path, **shared).classes == ("y", "x")
    lacking = two_collections(tmp_path, labels={"classes": ["y", "x", "z"]})
    with pytest.raises(IsnetError, match=r"data.collections: no image of class 'z'"):
        read(tmp_path, **lacking)


def test_collections_that_together_are_of_one_class_are_refused(tmp_path: Path) -> None:
    parts = two_collections(tmp_path)
    del parts["collections"]["south"]  # type: ignore[attr-defined]
    with pytest.raises(IsnetError, match="one class, 'x'"):
        read(tmp_path, **parts)


def test_findings_of_several_collections_are_united(tmp_path: Path) -> None:
    parts = two_collections(tmp_path, labels={"task": "multilabel"})
    labels(tmp_path / "north.csv", *(f"north/{n}.png,{n % 2},1" for n in range(3)),
           header="file,mass,edema")  # fmt: skip
    labels(tmp_path / "south.csv", *(f"south/{n}.png,{n % 2}" for n in range(3)),
           header="file,nodule")  # fmt: skip
    found = read(tmp_path, **parts)
    assert found.classes == ("edema", "mass", "nodule")
    assert [c.stated.label for c in found.candidates][2:4] == ["mass=0;edema=1", "nodule=0"]


def test_main_images_and_collections_go_together(tmp_path: Path) -> None:
    for n in range(2):
        png(tmp_path / f"xrays/{n}.png", 30 + n)
    labels(tmp_path / "labels.csv", "0.png,y", "1.png,y")
    parts = two_collections(tmp_path)
    del parts["images"]
    found = read(tmp_path, **parts)
    assert [c.key for c in found.candidates][:3] == ["0", "1", "north/0"]
    assert found.classes == ("x", "y")
