"""The label column is chosen by its name and by a look at its cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.errors import IsnetError
from isnet_cli.labels.label_columns import judge_cells
from isnet_cli.labels.tables import LabelTable, read_labels


def read(folder: Path, text: str, **labels: object) -> LabelTable:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels(Labels.model_validate({"file": str(path), **labels}), Columns())


CHEST14 = (
    "Image Index,Finding Labels,Patient ID,Image[Width,Height],Spacing[x,y],\n"
    "1.png,No Finding,1,2682,2749,0.143,0.143,\n"
    "2.png,Cardiomegaly|Effusion,2,2682,2749,0.168,0.168,\n"
    "3.png,Effusion,3,2682,2749,0.168,0.168,\n"
)


def test_a_fragment_of_a_header_is_no_name(tmp_path: Path) -> None:
    found = read(tmp_path, CHEST14, task="multilabel")
    assert found.roles.label == ("Finding Labels",)
    assert found.classes == ("Cardiomegaly", "Effusion", "No Finding")
    assert found.roles.why == "by its name; 1 of 3 cells name several findings"


def test_several_findings_are_not_a_class(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match=r"labels.csv:3: column 'Finding Labels' names") as caught:
        read(tmp_path, CHEST14)
    assert caught.value.fix == "data.labels.task: multilabel"
    chosen = read(tmp_path, CHEST14, classes=["Effusion", "Cardiomegaly|Effusion"])
    assert [row.label for row in chosen.rows] == ["", "Cardiomegaly|Effusion", "Effusion"]


def test_a_bracket_shows_which_comma_was_text(tmp_path: Path) -> None:
    text = "file,size [w,h],label\n1.png,3x4,a\n2.png,3x4,b\n"
    found = read(tmp_path, text)
    assert found.csv.columns == ("file", "size [w,h]", "label")
    assert [row.label for row in found.rows] == ["a", "b"]


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (["0.143", "0.168"], "fractions"),
        (["0,5", "1,25", "x"], "fractions"),
        (["264.0", "152.5"], "fractions"),
        (["1.0", "0.0", "-1.0"], ""),
        (["", "nan"], "empty"),
        ([f"id{n}" for n in range(8)], "another value"),
        ([f"id{n}" for n in range(7)], ""),
        ([f"p{n % 4}" for n in range(8)], ""),
        (["word " * 20, "words " * 20] * 5, "long texts"),
        (["-1", "3 4 10 2", "17 1"], ""),
        (["a|b", "a|c", "b|c", "a|b|c", "c", "b", "a", "a|b"], ""),
    ],
)
def test_cells_can_tell_that_a_column_holds_no_classes(cells: list[str], why: str) -> None:
    found = judge_cells(cells)
    assert (why in found) if why else found == ""


def test_the_next_best_name_is_taken_when_the_cells_are_no_classes(tmp_path: Path) -> None:
    found = read(tmp_path, "file,label,diagnosis\na,0.25,x\nb,0.75,y\n")
    assert found.roles.label == ("diagnosis",)
    boxes = "image,x,y,Target\na,1,152.5,1\nb,2,17.0,0\n"
    assert read(tmp_path, boxes).roles.label == ("Target",)
    places = "image,y\n" + "".join(f"i{n},{n}\n" for n in (*range(25), *range(25)))
    with pytest.raises(IsnetError, match="'y' holds 25 different numbers"):
        read(tmp_path, places)


def test_a_proposed_column_is_one_that_works(tmp_path: Path) -> None:
    rows = "".join(f"i{n}.png,{0.1 * n:.2f},{'ab'[n % 2]},x\n" for n in range(6))
    with pytest.raises(IsnetError) as caught:
        read(tmp_path, f"image,dose,kind,same\n{rows}")
    assert caught.value.fix == "data.labels.columns: [kind]"
    assert read(tmp_path, f"image,dose,kind,same\n{rows}", columns=["kind"]).classes == ("a", "b")


def test_run_lengths_are_yes(tmp_path: Path) -> None:
    found = read(tmp_path, "ImageId, EncodedPixels\na, -1\nb, 4 5 6 7\nc,-1\n")
    assert [row.label for row in found.rows] == ["0", "1", "0"]


def test_columns_that_are_nearly_findings_are_named(tmp_path: Path) -> None:
    rows = "".join(f"i{n},{n % 2},{'2' if n == 3 else 1}\n" for n in range(8))
    found = read(tmp_path, f"image,edema,mass\n{rows}", task="multilabel")
    assert found.roles.why == "a column of yes and no; not 'mass', which also holds '2'"


def test_equal_columns_are_one_and_others_are_told_apart(tmp_path: Path) -> None:
    twice = "file,label,note,label,\na,x,1,x,\nb,y,2,y,\n"
    assert read(tmp_path, twice).csv.columns == ("file", "label", "note")
    differ = "file,label,note,note\na,x,1,3\nb,y,2,4\n"
    assert read(tmp_path, differ).csv.columns == ("file", "label", "note", "note (2)")
    with pytest.raises(IsnetError, match=r"'label', 'label \(2\)' may all be the label"):
        read(tmp_path, "file,label,label\na,x,y\nb,y,x\n")


def test_names_alike_but_for_case_are_refused_as_findings(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="'Mass' and 'mass' differ in nothing but case"):
        read(tmp_path, "file,Mass,mass\na,1,0\nb,0,1\n", task="multilabel")


def test_other_encodings_are_said(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("file,label\na,gr\u00fcn\nb,x\n".encode("cp1252"))
    found = read_labels(Labels(file=str(tmp_path / "labels.csv")), Columns())
    assert "not UTF-8, read as Western text (cp1252)" in found.warnings[0]
    assert found.classes == ("gr\u00fcn", "x")
