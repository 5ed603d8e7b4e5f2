from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.errors import IsnetError
from isnet_cli.labels.tables import order_classes, read_folder_labels, read_labels


def table(folder: Path, text: str, roles: dict[str, Any] | None = None, **labels: Any):
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels(Labels(file=str(path), **labels), Columns(**(roles or {})))


def texts(found) -> list[str]:
    return [row.label for row in found.rows]


def test_class_names_stay_as_written(tmp_path: Path) -> None:
    found = table(tmp_path, "file,label\na,Normal \nb,TB (active)\nc,\nd,nan\ne,007\n")
    assert texts(found) == ["Normal", "TB (active)", "", "", "007"]
    assert found.classes == ("007", "Normal", "TB (active)")
    assert found.roles.label == ("label",)
    assert [row.line for row in found.rows] == [2, 3, 4, 5, 6]


def test_all_roles_are_found_by_usual_names(tmp_path: Path) -> None:
    text = (
        "Image Index;Finding;PatientID;Hospital;View Position;lung mask;Split\n"
        "a.png;x;007;A;PA;m/a.png;Training\nb.png;y;N/A;;LL;;validation\n"
    )
    one, two = table(tmp_path, text).rows
    assert (one.patient, one.source, one.view, one.masks, one.set) == (
        "007", "A", "frontal", ("m/a.png",), "train",
    )  # fmt: skip
    assert (two.patient, two.source, two.view, two.masks, two.set) == ("", "", "lateral", (), "val")


def test_left_and_right_masks(tmp_path: Path) -> None:
    text = "file,label,left_mask,right_mask\na,x,l/a.png,r/a.png\nb,y,,\n"
    assert [row.masks for row in table(tmp_path, text).rows] == [("l/a.png", "r/a.png"), ()]


def test_columns_can_be_named_or_switched_off(tmp_path: Path) -> None:
    text = "file,label,klinik,patient\na,x,A,1\nb,y,B,2\n"
    found = table(tmp_path, text, {"source": "klinik", "patient": "none"})
    assert [row.source for row in found.rows] == ["A", "B"]
    assert [row.patient for row in found.rows] == ["", ""]


def test_earlier_tier_of_label_names_wins(tmp_path: Path) -> None:
    found = table(tmp_path, "file,diagnosis,label\na,long text,x\nb,other text,y\n")
    assert found.roles.label == ("label",)


def test_configured_classes_choose_and_order(tmp_path: Path) -> None:
    text = "file,label\na,x\nb,y\nc,z\nd,z\n"
    found = table(tmp_path, text, classes=["y", "x"])
    assert found.classes == ("y", "x")
    assert texts(found) == ["x", "y", "", ""]
    assert "2 rows have a class outside data.labels.classes: 'z' (2)" in found.warnings[0]


def test_an_outside_multilabel_file_may_lack_columns(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,mass,other\na,1,0\nb,0,1\n")
    labels = Labels(file=str(path), classes=["edema", "mass"], task="multilabel")
    found = read_labels(labels, Columns(), outside=True)
    assert texts(found) == ["mass=1", "mass=0"]
    with pytest.raises(IsnetError, match="no image of class 'edema'"):
        read_labels(labels, Columns())
    with pytest.raises(IsnetError, match="no column 'lung'"):
        read_labels(labels.model_copy(update={"classes": ["lung"]}), Columns(), outside=True)


def test_several_spellings_of_a_class_are_told(tmp_path: Path) -> None:
    found = table(tmp_path, "file,label\na,Normal\nb,normal\nc,TB\n")
    assert found.classes == ("Normal", "TB")
    assert texts(found) == ["Normal", "Normal", "TB"]
    assert "'Normal' (1), 'normal' (1); they count as 'Normal'" in found.warnings[0]


def test_one_hot_columns_become_class_names(tmp_path: Path) -> None:
    text = "file,normal,tb\na,1,0\nb,0,1\nc,,\n"
    found = table(tmp_path, text, columns=["normal", "tb"])
    assert texts(found) == ["normal", "tb", ""]
    assert found.classes == ("normal", "tb")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("ignore", ["eff=1;mass=0", "eff=?;mass=1", "eff=0;mass=?", ""]),
        ("zero", ["eff=1;mass=0", "eff=0;mass=1", "eff=0;mass=?", ""]),
        ("one", ["eff=1;mass=0", "eff=1;mass=1", "eff=0;mass=?", ""]),
    ],
)
def test_multilabel_with_uncertain_and_missing(
    tmp_path: Path, policy: str, expected: list[str]
) -> None:
    text = "file,age,sex,eff,mass\na,50,1,yes,0\nb,51,0,-1,pos\nc,52,1,FALSE,nan\nd,53,0,,\n"
    found = table(tmp_path, text, task="multilabel", uncertain=policy)
    assert found.classes == ("eff", "mass")  # age and sex are never findings
    assert texts(found) == expected


def test_multilabel_in_one_cell(tmp_path: Path) -> None:
    text = "Image Index,Finding Labels\na,Mass|Nodule\nb,No Finding\nc,Nodule\nd,\n"
    found = table(tmp_path, text, task="multilabel", classes=["Nodule", "Mass"])
    assert texts(found) == ["Nodule=1;Mass=1", "Nodule=0;Mass=0", "Nodule=1;Mass=0", ""]
    assert table(tmp_path, text, task="multilabel").classes == ("Mass", "No Finding", "Nodule")


def test_an_outside_set_may_lack_classes(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,label\na,x\nb,x\n")
    labels = Labels(file=str(path), classes=["x", "y"])
    assert read_labels(labels, Columns(), outside=True).classes == ("x", "y")
    with pytest.raises(IsnetError, match="no image of class 'y'"):
        read_labels(labels, Columns())


MULTI = {"task": "multilabel"}
BAD: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "no label column": ("file,weight\na,1\n", {}, {}, "no label column found among"),
    "unknown label column": ("file,label\na,x\n", {"columns": ["labl"]}, {}, "no column 'labl'"),
    "no column listed": ("file,label\na,x\n", {"columns": []}, {}, "an empty list"),
    "two label columns": ("file,class,target\na,x,y\n", {}, {}, "'class', 'target' may all be"),
    "two patients": ("file,label,patient,pid\na,x,1,2\n", {}, {}, "may all be the patient"),
    "unknown patient column": ("file,label\na,x\nb,y\n", {}, {"patient": "pat"}, "no column 'pat'"),
    "one class": ("file,label\na,x\nb,x\n", {}, {}, "one class, 'x'"),
    "one finding": ("file,label\na,x\nb,x\n", MULTI, {}, "one finding, 'x', in each row"),
    "no label": ("file,label\na,\nb,nan\n", {}, {}, "'label' is empty"),
    "absent class": ("file,label\na,x\nb,y\n", {"classes": ["x", "q"]}, {},
                     "no image of class 'q'"),
    "odd value": ("file,eff,mass\na,1,0\nb,2,0\n", {**MULTI, "columns": ["eff", "mass"]}, {},
                  ":3: '2' in column 'eff'"),
    "two of one": ("file,n,t\na,1,1\n", {"columns": ["n", "t"]}, {}, ":2: 2 of the columns"),
    "none of one": ("file,n,t\na,0,0\n", {"columns": ["n", "t"]}, {}, ":2: 0 of the columns"),
    "name with sign": ("file,a=b,c\na,1,0\n", {**MULTI, "columns": ["a=b", "c"]}, {}, "';' or '='"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_labels_are_refused_with_place_and_fix(tmp_path: Path, case: str) -> None:
    text, labels, columns, found = BAD[case]
    with pytest.raises(IsnetError) as caught:
        table(tmp_path, text, columns, **labels)
    assert caught.value.kind == "data"
    assert caught.value.message.startswith(str(tmp_path / "labels.csv"))
    assert found in caught.value.message
    assert caught.value.fix


def test_fix_names_the_nearest_column(tmp_path: Path) -> None:
    with pytest.raises(IsnetError) as caught:
        table(tmp_path, "file,Diagnosis\na,x\nb,y\n", columns=["diagnosis"])
    assert caught.value.fix == "data.labels.columns: [Diagnosis]"


def names(*paths: str) -> list[PurePosixPath]:
    return [PurePosixPath(path) for path in paths]


def test_folder_per_class() -> None:
    rows = read_folder_labels(names("tb/1.png", "tb/2.png", "normal/1.png", "normal/3"), None)
    assert rows is not None
    assert [row.label for row in rows] == ["tb", "tb", "normal", "normal"]
    assert [row.set for row in rows] == [""] * 4


def test_folder_per_set_and_class() -> None:
    paths = names("train/tb/1", "train/normal/2", "Validation/tb/3", "test/normal/4")
    rows = read_folder_labels(paths, None)
    assert rows is not None
    assert [(row.set, row.label) for row in rows] == [
        ("train", "tb"), ("train", "normal"), ("val", "tb"), ("test", "normal"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "paths",
    [
        ("1.png", "2.png"),
        ("tb/1", "tb/2"),
        ("tb/1", "tb/2", "normal/1", "3"),
        ("tb/1", "tb/2", "normal/x/1", "normal/x/2"),
        ("images/1", "images/2", "masks/1", "masks/2"),
        ("train/1", "train/2", "test/1", "test/2"),
        ("p1/1", "p2/1", "p3/1", "p3/2"),
        ("patient1/1", "patient1/2", "patient2/1", "patient2/2"),
        tuple(f"p{n}/{i}" for n in range(30) for i in range(2)),
        ("siteA/p1/1", "siteA/p2/2", "siteB/p1/1", "siteB/p2/1"),
    ],
)
def test_other_layouts_are_not_taken_for_classes(paths: tuple[str, ...]) -> None:
    assert read_folder_labels(names(*paths), None) is None


def test_configured_classes_are_found_at_any_depth() -> None:
    paths = names("A/tb/p1/1", "A/normal/2", "train/tb/3", "other/4", "tb/normal/5")
    rows = read_folder_labels(paths, ["normal", "tb"])
    assert rows is not None
    assert [row.label for row in rows] == ["tb", "normal", "tb", "", ""]
    assert [row.set for row in rows] == ["", "", "train", "", ""]
    assert read_folder_labels(names("a/1", "b/2"), ["normal", "tb"]) is None


def test_class_order_is_sorted_unless_configured() -> None:
    found = Counter({"b": 3, "a": 1})
    assert order_classes(found, Labels(), "x", 2) == ("a", "b")
    assert order_classes(found, Labels(classes=["b", "a"]), "x", 2) == ("b", "a")
