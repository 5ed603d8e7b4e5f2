from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Identity
from isnet_cli.labels.columns import Roles
from isnet_cli.labels.csv_table import CsvTable
from isnet_cli.labels.join import (
    Attempt,
    Join,
    build_refusal,
    format_match_table,
    join_labels,
    needs_headers,
)
from isnet_cli.labels.join_keys import ImageName, RowFinder
from isnet_cli.labels.tables import LabelRow, LabelTable, read_labels

ROOT = Path("/data/xrays")


def image(name: str, uid: str = "", accession: str = "", patient: str = "") -> ImageName:
    return ImageName(ROOT / name, name, Identity(patient, accession, uid))


def joined(folder: Path, text: str, images: list[ImageName], root: Path = ROOT, **labels) -> Join:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    settings_ = Labels(file=str(path), **labels)
    return join_labels(images, read_labels(settings_, Columns()), settings_, [root])


def lines(found: Join) -> list[int | None]:
    """Line of the label file for each image."""
    return [None if row is None else row + 2 for row in found.chosen.rows]


def test_path_below_the_images_folder(tmp_path: Path) -> None:
    images = [image("b/1.png"), image("a/1.png")]
    found = joined(tmp_path, "file,label\na/1.png,x\nb\\1.png,y\n", images)
    assert (found.chosen.kind, lines(found)) == ("path", [3, 2])


def test_path_beside_the_label_file(tmp_path: Path) -> None:
    images = [ImageName(tmp_path / "images" / name, name) for name in ("1.png", "2.png")]
    text = f"file,label\nimages/2.png,x\n{tmp_path}/images/1.png,y\n"
    found = joined(tmp_path, text, images, tmp_path / "images")
    assert (found.chosen.kind, lines(found)) == ("path", [3, 2])


def test_tree_that_was_moved(tmp_path: Path) -> None:
    images = [image("p1/s1/v.jpg"), image("p2/s1/v.jpg")]
    text = "Path,label\nOld-v1/train/p2/s1/v.jpg,x\nOld-v1/train/p1/s1/v.jpg,y\n"
    found = joined(tmp_path, text, images)
    assert (found.chosen.kind, lines(found)) == ("name", [3, 2])


@pytest.mark.parametrize(
    ("cells", "names", "kind"),
    [
        (("img1", "img2"), ("img1.dcm", "img2.DCM"), "path"),
        (("img1", "img2"), ("x/img1.dcm", "y/img2"), "name"),
        (("img1.png", "img2.png"), ("img1.dcm", "img2"), "stem"),
        (("IMG1.PNG", "Img2.png"), ("img1.png", "img2.png"), "stem"),
        (("a/img1", "b/img2"), ("a/img1.dcm", "b/img2.dcm"), "path"),
        (("a/img1.png", "b/img2.png"), ("A/img1.dcm", "B/img2.dcm"), "stem"),
        (("1.2.840.1", "1.2.840.2"), ("1.2.840.1.dcm", "1.2.840.2"), "path"),
    ],
)
def test_names_with_other_or_no_suffixes(
    tmp_path: Path, cells: tuple[str, str], names: tuple[str, str], kind: str
) -> None:
    text = f"image,label\n{cells[1]},x\n{cells[0]},y\n"
    found = joined(tmp_path, text, [image(name) for name in names])
    assert (found.chosen.kind, lines(found)) == (kind, [3, 2])


def test_composed_and_decomposed_letters_are_one(tmp_path: Path) -> None:
    text = "file,label\nmu\u0308ller.png,x\nb.png,y\n"
    assert lines(joined(tmp_path, text, [image("b.png"), image("m\u00fcller.png")])) == [3, 2]


def test_identifiers_of_the_header(tmp_path: Path) -> None:
    images = [
        image("IM1", uid="1.2.1", accession="A1", patient="007"),
        image("IM2", uid="1.2.2", accession="A1", patient="007"),
        image("IM3", uid="1.2.3", accession="A3", patient="7"),
    ]
    by_uid = joined(tmp_path, "SOPInstanceUID,label\n1.2.3,x\n1.2.1,y\n1.2.2,x\n", images)
    assert (by_uid.chosen.kind, lines(by_uid)) == ("uid", [3, 4, 2])
    by_accession = joined(tmp_path, "AccessionNumber,label\nA3,x\nA1,y\n", images)
    assert (by_accession.chosen.kind, lines(by_accession)) == ("accession", [3, 3, 2])
    by_patient = joined(tmp_path, "PatientID,label\n7,x\n007,y\n", images)
    assert (by_patient.chosen.kind, lines(by_patient)) == ("patient", [3, 3, 2])


def test_best_of_several_keys_wins_and_the_table_lists_all(tmp_path: Path) -> None:
    images = [image("a.dcm", uid="1.1"), image("b.dcm", uid="1.2"), image("c.dcm", uid="1.3")]
    text = "file,uid,label\na.dcm,1.1,x\nb.dcm,1.2,y\nother.dcm,1.3,x\n"
    found = joined(tmp_path, text, images)
    assert (found.chosen.kind, lines(found)) == ("uid", [2, 3, 4])
    assert found.table[0].split() == [
        "key",
        "column",
        "images",
        "matched",
        "rows",
        "matched",
        "ambiguous",
    ]
    rows = [line.split() for line in found.table[1:]]
    assert ["path", "file", "2", "of", "3", "2", "of", "3", "0"] in rows
    assert ["uid", "uid", "3", "of", "3", "3", "of", "3", "0"] in rows


def test_images_without_row_stay_unlabelled(tmp_path: Path) -> None:
    images = [image("a.png"), image("b.png"), image("c.png")]
    found = joined(tmp_path, "file,label\na.png,x\nb.png,y\nz.png,y\n", images)
    assert lines(found) == [2, 3, None]


def test_equal_rows_are_one_row(tmp_path: Path) -> None:
    images = [image("a.png"), image("b.png")]
    assert lines(joined(tmp_path, "file,label\na.png,x\nb.png,y\na.png,x\n", images)) == [2, 3]


def test_any_column_may_hold_whole_file_names_but_not_bare_numbers(tmp_path: Path) -> None:
    images = [image("1.png"), image("2.png"), image("3.png")]
    found = joined(tmp_path, "bild,label\n2.png,x\n1.png,y\n3.png,y\n", images)
    assert (found.chosen.column, lines(found)) == ("bild", [3, 2, 4])
    with pytest.raises(IsnetError, match="0 of 3 images"):  # an index counted from 0
        joined(tmp_path, ",label\n0,x\n1,y\n2,x\n3,y\n", images)
    with pytest.raises(IsnetError, match="0 of 3 images"):
        joined(tmp_path, "weight,label\n1,x\n2,y\n3,x\n", images)
    forced = joined(tmp_path, "weight,label\n1,x\n2,y\n3,x\n", images, key="column:weight")
    assert lines(forced) == [2, 3, 4]


def test_masks_and_other_roles_are_no_keys(tmp_path: Path) -> None:
    images = [image("a.png"), image("b.png")]
    with pytest.raises(IsnetError, match="0 of 2 images"):
        joined(tmp_path, "mask,label\na.png,x\nb.png,y\n", images)


HEAD = "file,label\n"
REFUSED = {
    "labels differ": (
        HEAD + "a.png,x\na.png,y\nb.png,x\n", "a.png b.png", "auto", "lines 2, 3 differ",
    ),
    "sources differ": (
        "file,label,source\na.png,x,A\na.png,x,B\nb.png,y,A\n", "a.png b.png", "auto",
        "lines 2, 3 differ",
    ),
    "two images": (
        HEAD + "a.png,x\nb.png,y\n", "p/a.png q/a.png b.png", "auto", "line 2 fits other images",
    ),
    "two endings": (
        HEAD + "a,x\nb,y\n", "a.png a.dcm b.png", "auto", "line 2 fits other images",
    ),
    "two spellings": (
        HEAD + "a.png,x\na.dcm,x\nb,y\n", "a b", "stem", "lines 2, 3 name different files",
    ),
    "other folders": (
        HEAD + "old/a.png,x\nold/b.png,y\n", "new/a.png new/b.png", "auto", "0 of 2 images",
    ),
    "too few": (
        HEAD + "a.png,x\nz.png,y\n", "a.png b.png c.png", "auto",
        "1 of 3 images found a row, expected at least 50%",
    ),
    "none": (HEAD + "y.png,x\nz.png,y\n", "a.png", "auto", "0 of 1 images"),
    "no images": (HEAD + "y.png,x\nz.png,y\n", "", "auto", "no image to label"),
    "unknown column": (HEAD + "a.png,x\nb.png,y\n", "a.png", "column:fil", "no column 'fil'"),
    "unknown key": (
        HEAD + "a.png,x\nb.png,y\n", "a.png", "name", "data.labels.key: 'name', expected auto",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_doubt_is_refused(tmp_path: Path, case: str) -> None:
    text, names, key, found = REFUSED[case]
    with pytest.raises(IsnetError) as caught:
        joined(tmp_path, text, [image(name) for name in names.split()], key=key)
    assert found in caught.value.render()
    assert "expected" in caught.value.message or "no column" in caught.value.message
    assert caught.value.fix


def test_the_fix_for_a_wrong_column_can_be_typed_as_it_stands(tmp_path: Path) -> None:
    with pytest.raises(IsnetError) as caught:
        joined(tmp_path, HEAD + "a.png,x\nb.png,y\n", [image("a.png")], key="column:fil")
    assert caught.value.fix == "data.labels.key: column:file"


def test_a_refusal_shows_the_match_table_and_the_first_image(tmp_path: Path) -> None:
    with pytest.raises(IsnetError) as caught:
        joined(tmp_path, "file,label\ny.png,x\nz.png,y\n", [image("a.png")])
    assert caught.value.details[0] == "first image without a row: a.png"
    assert any(line.startswith("stem") and "0 of 1" in line for line in caught.value.details)


def test_asked_for_names_are_joined_without_their_folders(tmp_path: Path) -> None:
    images = [image("new/a.png"), image("new/b.png")]
    text = "file,label\nold/b.png,x\nold/a.png,y\n"
    with pytest.raises(IsnetError) as caught:
        joined(tmp_path, text, images)
    assert caught.value.fix == "data.labels.key: file"
    assert lines(joined(tmp_path, text, images, key="file")) == [3, 2]
    assert lines(joined(tmp_path, text, images, key="stem")) == [3, 2]


def test_a_row_of_a_missing_file_is_not_given_to_its_namesake(tmp_path: Path) -> None:
    images = [image("B/a.png"), image("B/b.png"), image("B/c.png")]
    text = "file,label\nA/a.png,wrong\nB/b.png,x\nB/c.png,y\n"
    assert lines(joined(tmp_path, text, images)) == [None, 3, 4]


def test_a_bare_name_that_may_mean_a_image_in_a_subfolder_is_refused(tmp_path: Path) -> None:
    images = [image("b.png"), image("a/b.png"), image("c.png")]
    text = "file,label\nb.png,x\nc.png,y\n"
    for key in ("auto", "file"):
        with pytest.raises(IsnetError, match="ambiguous"):
            joined(tmp_path, text, images, key=key)
    assert lines(joined(tmp_path, text + "a/b.png,y\n", images)) == [2, 4, 3]
    assert lines(joined(tmp_path, text + "a/b.png,\n", images)) == [2, 4, 3]  # not labelled


def test_a_bare_name_is_joined_to_the_one_image_in_a_subfolder_that_has_it(tmp_path: Path) -> None:
    """Tables often list file names only; whether another file of that name is missing, none knows.

    Where other rows have folders and start where the images do, a bare name is a path as well.
    """
    names = [image("a/a.png")]
    bare = "file,label\na.png,x\nnowhere-x,x\nnowhere-y,y\n"
    assert lines(joined(tmp_path, bare, names)) == [2]
    more = [*names, image("b/c.png")]
    assert lines(joined(tmp_path, bare + "c.png,y\n", more)) == [2, 5]
    assert lines(joined(tmp_path, bare + "b/c.png,y\n", more)) == [None, 5]
    assert lines(joined(tmp_path, bare + "b/c.png,y\n", more, key="file")) == [2, 5]


def test_a_path_is_not_joined_to_a_longer_one_when_the_first_folder_is_known(
    tmp_path: Path,
) -> None:
    images = [image("a/1.png"), image("old/a/2.png")]
    text = "file,label\na/1.png,x\na/2.png,wrong\n"
    assert lines(joined(tmp_path, text, images)) == [2, None]
    assert lines(joined(tmp_path, "file,label\na/2.png,x\nb,y\n", images[1:])) == [2]


@pytest.mark.parametrize("column", ["hospital", "split", "patient_id"])
def test_folders_called_like_a_hospital_a_set_or_a_patient(tmp_path: Path, column: str) -> None:
    images = [image(f"{folder}/{n}.png") for folder in ("A1", "B2") for n in (1, 2)]
    text = f"image,{column},label\n1.png,B2,x\n2.png,B2,y\n1.png,A1,y\n2.png,A1,x\n"
    found = joined(tmp_path, text, images)
    assert found.chosen.column == f"{column}/image"
    assert lines(found) == [4, 5, 2, 3]


def test_names_of_columns_with_units_and_in_other_languages(tmp_path: Path) -> None:
    images = [image("1.png"), image("2.png")]
    for header in ("Image [file],Diagnosis (ICD)", "Datei,Befund", "archivo,Etiquetas"):
        found = joined(tmp_path, f"{header}\n2.png,x\n1.png,y\n", images)
        assert lines(found) == [3, 2]


@pytest.mark.parametrize(
    ("cells", "hint"), [(("1.0", "2.0"), "decimals"), (("2.1E+17", "2.2E+17"), "rounded")]
)
def test_numbers_that_a_spreadsheet_changed_are_said(
    tmp_path: Path, cells: tuple[str, str], hint: str
) -> None:
    with pytest.raises(IsnetError) as caught:
        joined(tmp_path, f"id,label\n{cells[0]},x\n{cells[1]},y\n", [image("1"), image("2")])
    assert hint in caught.value.details[1]


def test_lost_leading_zeros_are_recognised_and_not_repaired(tmp_path: Path) -> None:
    images = [image("001.png"), image("002.png")]
    with pytest.raises(IsnetError) as caught:
        joined(tmp_path, "id,label\n1,x\n2,y\n", images)
    assert "leading zeros" in caught.value.details[1]


def test_two_ways_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    images = [image("a.dcm", uid="1.1"), image("b.dcm", uid="1.2")]
    text = "file,uid,label\na.dcm,1.2,x\nb.dcm,1.1,y\n"
    with pytest.raises(IsnetError, match="gives 2 images different rows") as caught:
        joined(tmp_path, text, images)
    assert "data.labels.key" in caught.value.fix
    assert lines(joined(tmp_path, text, images, key="uid")) == [3, 2]


def test_ambiguous_identifiers_are_not_shown(tmp_path: Path) -> None:
    images = [image("a", patient="SECRET-1"), image("b", patient="SECRET-2")]
    text = "PatientID,label\nSECRET-1,x\nSECRET-1,y\nSECRET-2,x\n"
    with pytest.raises(IsnetError) as caught:
        joined(tmp_path, text, images)
    assert "one patient: lines 2, 3 differ" in caught.value.render()
    assert "SECRET" not in caught.value.render()


@pytest.mark.parametrize(
    ("header", "key", "needed"),
    [
        ("file,label", "auto", False), ("file,uid,label", "auto", True),
        ("file,uid,label", "file", False), ("file,PatientID,label", "auto", True),
        ("file,label", "column:file", True), ("file,label", "stem", False),
    ],
)  # fmt: skip
def test_headers_are_read_only_when_they_may_decide(
    tmp_path: Path, header: str, key: str, needed: bool
) -> None:
    path = tmp_path / "l.csv"
    width = header.count(",")
    path.write_text(f"{header}\na{',x' * width}\nb{',y' * width}\n")
    labels = Labels(file=str(path), key=key, columns=["label"])
    assert needs_headers(read_labels(labels, Columns()), labels) is needed


THREE = ("train/p1/a.jpg", "train/p2/b.jpg", "train/p2/a.jpg")
ELSEWHERE = {
    "Windows": "C:\\x\\images\\{}",
    "another machine": "/home/me/cx/{}",
    "the folder's own name": "xrays/{}",
    "a folder above": "data/xrays/{}",
    "URL": "https://h.org/cx/{}?download=1",
    "percent": "file:///mnt/A%20B/{}",
    "dots": "./x/../{}",
}


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("change", [str, str.upper, lambda x: x.replace(".jpg", ".dcm")])
def test_paths_that_start_elsewhere(tmp_path: Path, where: str, change: Any) -> None:
    cells = [change(ELSEWHERE[where].format(name)) for name in THREE]
    text = "Path,label\n" + "".join(f"{cells[i]},{'xyz'[i]}\n" for i in (2, 0, 1))
    assert lines(joined(tmp_path, text, [image(name) for name in THREE])) == [3, 4, 2]


def test_a_table_of_more_folders_than_these(tmp_path: Path) -> None:
    text = "Path,label\nCX/train/p1/a.jpg,x\nCX/train/p2/b.jpg,y\nCX/valid/p1/a.jpg,wrong\n"
    for root in ("/d/train", "/d/CX/train"):
        images = [ImageName(Path(root) / name, name) for name in ("p1/a.jpg", "p2/b.jpg")]
        assert lines(joined(tmp_path, text, images, Path(root))) == [2, 3]
    renamed = [ImageName(Path("/d/t") / name, name) for name in ("p1/a.jpg", "p2/b.jpg")]
    with pytest.raises(IsnetError, match="ambiguous"):
        joined(tmp_path, text, renamed, Path("/d/t"))


def test_folder_and_file_in_two_columns(tmp_path: Path) -> None:
    text = "ImageID,ImageDir,label\n1.png,0,x\n1.png,1,y\n"
    found = joined(tmp_path, text, [image("1/1.png"), image("0/1.png")])
    assert (found.chosen.column, lines(found)) == ("ImageDir/ImageID", [3, 2])


def test_identifiers_that_are_the_names_of_the_files(tmp_path: Path) -> None:
    text = "patientId,x,Target\np0-aa,1.5,1\np0-aa,2.5,1\np1-aa,,0\n"
    found = joined(tmp_path, text, [image("p1-aa.png"), image("p0-aa.png")])
    assert (found.chosen.kind, found.chosen.column, lines(found)) == ("path", "patientId", [4, 2])
    assert (found.chosen.images, found.chosen.used_rows) == (2, 3)
    with pytest.raises(IsnetError, match="0 of 2 images"):  # image 1 need not be of patient 1
        joined(tmp_path, "patient,label\n1,x\n2,y\n", [image("1.png"), image("2.png")])


def test_examinations_that_are_folders(tmp_path: Path) -> None:
    names = ("p10/p1000032/s500001/a.jpg", "p10/p1000032/s500001/b.jpg", "p11/p1100041/s500002/c")
    text = "subject_id,study_id,label\n1100041,500002,x\n1000032,500001,y\n"
    found = joined(tmp_path, text, [image(name) for name in names])
    assert (found.chosen.kind, found.chosen.column) == ("folder", "study_id")
    assert lines(found) == [3, 3, 2]


READERS = "image,reader,label\na,R1,normal\na,R2,sick\nb,R1,sick\nb,R2,sick\n"


def test_rows_that_differ_name_the_choices_that_work(tmp_path: Path) -> None:
    images = [image("a.png"), image("b.png")]
    with pytest.raises(IsnetError, match="1 of 2 images have several rows with diff") as caught:
        joined(tmp_path, READERS, images)
    assert caught.value.fix.startswith("data.repeated: any (majority or all)")
    several = "image,class_name\na,x\na,y\nb,x\n"
    with pytest.raises(IsnetError) as caught:
        joined(tmp_path, several, images)
    assert caught.value.fix.startswith("data.labels.task: multilabel with data.repeated: any")
    path = tmp_path / "labels.csv"
    labels = Labels(file=str(path), task="multilabel")
    found = join_labels(images, read_labels(labels, Columns()), labels, [ROOT], "any")
    assert [row.label for row in found.chosen.stated if row] == ["x=1;y=1", "x=1;y=0"]


def test_rows_of_other_visits_are_never_merged(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("PatientID,label\nP1,normal\nP1,sick\nP2,sick\n")
    labels = Labels(file=str(path))
    images = [image("a", patient="P1"), image("b", patient="P2")]
    with pytest.raises(IsnetError, match="joining labels by patient"):
        join_labels(images, read_labels(labels, Columns()), labels, [ROOT], "any")


TABLE = LabelTable(
    CsvTable(Path("l.csv"), ("file", "label"), (("q", "x"), ("r", "y")), (2, 3), ",", "utf-8"),
    Roles(label=("label",)),
    (LabelRow(2, "x"), LabelRow(3, "y")),
    ("x", "y"),
)
IMAGES = [ImageName(Path(f"/d/{name}.png"), name) for name in "abc"]


def test_attempts_count_images_and_rows() -> None:
    attempt = Attempt("accession", "acc", (0, 0, None), 1)
    assert (attempt.images, attempt.used_rows) == (2, 1)


def test_the_table_is_aligned() -> None:
    attempts = [Attempt("path", "file", (0, 1, None), 0), Attempt("stem", "a long name", (), 12)]
    assert format_match_table(attempts, IMAGES, TABLE) == (
        "key   column       images matched  rows matched  ambiguous",
        "path  file         2 of 3          2 of 2        0",
        "stem  a long name  0 of 3          0 of 2        12",
    )


def test_stronger_kinds_come_first() -> None:
    order = ("path", "name", "name alone", "stem", "stem alone", "uid", "accession", "patient")
    assert [Attempt(kind, "", (), 0).rank for kind in order] == list(range(8))


def test_a_refusal_speaks_of_the_best_attempt(tmp_path: Path) -> None:
    text = "file,label\nb.png,x\nz.png,y\n"
    with pytest.raises(IsnetError) as caught:
        joined(tmp_path, text, [image(f"{name}.png") for name in "abc"], min_match=0.8)
    assert "1 of 3 images found a row, expected at least 80%" in caught.value.message
    assert caught.value.details[0] == "first image without a row: a.png"
    assert "data.labels.min_match: 0.33" in caught.value.fix


def test_a_refusal_without_any_attempt_lists_the_columns() -> None:
    error = build_refusal([], RowFinder(IMAGES, TABLE.csv, []), TABLE, Labels())
    assert "none of the columns 'file', 'label'" in error.details[1]
    assert "min_match:" not in error.fix


def test_an_ambiguous_attempt_shows_examples() -> None:
    attempts = [Attempt("stem", "file", (None,) * 3, 2, ("a: lines 2, 3 differ",))]
    error = build_refusal(attempts, RowFinder(IMAGES, TABLE.csv, []), TABLE, Labels())
    assert "ambiguous for 2 of 3 images" in error.message
    assert error.details[0] == "e.g. a: lines 2, 3 differ"


PART = st.sampled_from(["a", "b", "c", "1", "01"])
NAME = st.builds(
    lambda folders, base, suffix: "/".join([*folders, base + suffix]),
    st.lists(PART, max_size=2),
    PART,
    st.sampled_from([".png", ".dcm", ""]),
)
STYLES = ("path", "prefixed", "name", "stem", "uid", "accession", "patient")


def _written(style: str, name: str, number: int, patient: int) -> str:
    base = name.rpartition("/")[2]
    return {
        "path": name,
        "prefixed": f"old/tree/{name}",
        "name": base,
        "stem": base.rpartition(".")[0] or base,
        "uid": f"1.2.{number}",
        "accession": f"A{patient}",
        "patient": f"P{patient}",
    }[style]


@given(
    names=st.lists(NAME, min_size=1, max_size=7, unique=True),
    present=st.integers(0, 2**7 - 1),
    listed=st.integers(0, 2**7 - 1),
    style=st.sampled_from(STYLES),
    header=st.sampled_from(["file", "uid", "AccessionNumber", "PatientID", "image", "weird"]),
    key=st.sampled_from(["auto", "auto", "file", "stem", "uid", "accession", "patient"]),
    patients=st.lists(st.integers(0, 3), min_size=7, max_size=7),
    labels=st.lists(st.sampled_from("xyz"), min_size=7, max_size=7),
    seed=st.integers(0, 99),
)
def test_never_a_wrong_join_only_a_refusal(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    present: int,
    listed: int,
    style: str,
    header: str,
    key: str,
    patients: list[int],
    labels: list[str],
    seed: int,
) -> None:
    """A world of files, of which some are in the folder and some are in the label file.

    Whatever is missing on either side: an image gets its own label, no label, or a refusal. All
    files are in the folder where nobody could recognise a missing one: the label file has bare
    names, or paths that start at a folder which no file present shows; or a file was converted
    from one that differs in nothing but the suffix. By patient and examination, the label is
    theirs.
    """
    stems = {name.rpartition(".")[0] or name for name in names}
    has_folders = any(listed >> i & 1 and "/" in name for i, name in enumerate(names))
    shows_start = any(present & listed & 1 << i for i in range(len(names)))
    if (
        style in {"name", "stem"}
        or (style == "path" and not (has_folders and shows_start))
        or key in {"file", "stem"}
        or len(stems) < len(names)
    ):
        present = 2**7 - 1
    if style in {"accession", "patient"}:
        labels = [labels[patient] for patient in patients]
    inside = [i for i in range(len(names)) if present >> i & 1]
    assume(inside)
    rows = [i for i in range(len(names)) if listed >> i & 1]
    random.Random(seed).shuffle(rows)
    path = tmp_path_factory.getbasetemp() / "join.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([header, "label"])
        writer.writerows([_written(style, names[i], i, patients[i]), labels[i]] for i in rows)
        start = "old/tree/" if style == "prefixed" else ""
        writer.writerows([[f"{start}nowhere-{n}", n] for n in "xy"])
    images = [image(names[i], f"1.2.{i}", f"A{patients[i]}", f"P{patients[i]}") for i in inside]
    options = Labels(file=str(path), key=key, min_match=0.3)
    try:
        found = join_labels(images, read_labels(options, Columns()), options, [ROOT])
    except IsnetError as error:
        assert error.fix  # noqa: PT017 - either outcome is right; a refusal must help
        return
    table = read_labels(options, Columns())
    for i, row in zip(inside, found.chosen.rows, strict=True):
        if row is not None:
            assert table.rows[row].label == labels[i], (names[i], found.chosen.kind)
