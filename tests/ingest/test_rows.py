from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isnet_cli.core.pseudonyms import pseudonym
from isnet_cli.images.header_scan import HeaderFacts
from isnet_cli.images.types import Identity, Row
from isnet_cli.ingest.catalogue import Candidate
from isnet_cli.ingest.reading import FileFacts, FrameFacts, find_early_fault, name_image
from isnet_cli.ingest.rows import Line, count_rows, make_lines, skip_copies
from isnet_cli.labels.tables import LabelRow
from tests.ingest.factory import config

SALT = b"s" * 32


def candidate(stated: LabelRow | None = None, collection: str = "", **facts: object) -> Candidate:
    return Candidate(
        collection,
        "a/b",
        Path("/x/a/b.png"),
        HeaderFacts("png", **facts),
        stated or LabelRow(2, "x"),
        "m",
    )


def line_of(
    found: Candidate, tmp_path: Path, facts: FileFacts | None = None, **data: object
) -> Line:
    (line,) = make_lines(found, facts, config(tmp_path, **data), SALT)
    return line


def test_label_row_and_file_make_the_line(tmp_path: Path) -> None:
    stated = LabelRow(2, "x", "A", "P7", "frontal", (), "val")
    facts = FileFacts(
        "5" * 64,
        (FrameFacts("a/b", 0, "images/a/b.png", 9, 8, 12, "png", notes="n", spacing="1;2"),),
    )
    line = line_of(candidate(stated), tmp_path, facts)
    assert line.row == Row(
        key="a/b", path="/x/a/b.png", frame=0, sha256="5" * 64, image_file="images/a/b.png",
        height=9, width=8, bits=12, format="png", view="frontal", source="A",
        patient=pseudonym(SALT, "P7"),
        label="x", set="val", mask_file="m", status="ok", reason="", notes="n",
        spacing="1;2",
    )  # fmt: skip
    assert line.patient == "P7"


@pytest.mark.parametrize(
    ("stated", "header", "expected"),
    [
        ("P7", "H9", "P7"), ("", "H9", "H9"), ("", "ANONYMOUS", ""), ("unknown", "H9", "H9"),
        ("0", "", "0"), ("", "0", ""), ("", "", ""),
    ],
)  # fmt: skip
def test_the_patient_is_the_table_s_else_the_header_s(
    tmp_path: Path, stated: str, header: str, expected: str
) -> None:
    found = candidate(LabelRow(2, "x", patient=stated), identity=Identity(patient=header))
    line = line_of(found, tmp_path)
    assert line.patient == expected
    assert line.row.patient == pseudonym(SALT, expected)


def test_patients_per_source(tmp_path: Path) -> None:
    one, two = (
        line_of(candidate(LabelRow(2, "x", source, "7")), tmp_path, split={"ids": "source"})
        for source in "AB"
    )
    assert one.row.patient != two.row.patient


def test_own_images_take_the_set_s_name_unless_their_source_is_not_asked_for(
    tmp_path: Path,
) -> None:
    sets = {"far": {"images": "x", "source": ["A"]}}
    for source, expected in (("A", "far"), ("B", "")):
        stated = LabelRow(2, "x", source, set="train")
        assert line_of(candidate(stated, "far"), tmp_path, sets=sets).row.set == expected
    sets = {"far": {"images": "x", "only": {"A": ["x"]}}}
    for source, label, expected in (("A", "x", "far"), ("A", "y", ""), ("B", "x", "")):
        stated = LabelRow(2, label, source)
        assert line_of(candidate(stated, "far"), tmp_path, sets=sets).row.set == expected
    free = {"far": {"images": "x"}}
    row = line_of(candidate(LabelRow(0, ""), "far"), tmp_path, sets=free).row
    assert (row.set, row.source) == ("far", "far")


def test_views_and_early_faults(tmp_path: Path) -> None:
    settings = config(tmp_path)
    side = candidate(view="lateral")
    assert side.view == "lateral"
    fault = find_early_fault(side, settings, "k")
    assert fault is not None
    assert fault.frames[0].reason.startswith("lateral:")
    assert find_early_fault(side, config(tmp_path, view="any"), "k") is None
    corrected = candidate(LabelRow(2, "x", view="frontal"), view="lateral")
    assert find_early_fault(corrected, settings, "k") is None
    broken = candidate(fault=("modality", "words"))
    found = find_early_fault(broken, settings, "k")
    assert found is not None
    assert line_of(broken, tmp_path, found).row.reason == "modality: words"
    assert line_of(broken, tmp_path, found).row.status == "skipped"


def test_hidden_names(tmp_path: Path) -> None:
    hidden = config(tmp_path, privacy={"rename": True})
    key = name_image(candidate(), hidden, SALT)
    assert key == pseudonym(SALT, "a/b", 16)
    (line,) = make_lines(candidate(), None, hidden, SALT)
    assert (line.row.key, line.row.path) == (key, "")


def line(key: str, label: str, sha: str = "5", collection: str = "", **others: object) -> Line:
    return Line(Row(key, label=label, sha256=sha, image_file="f", **others), collection, "")


def test_copies() -> None:
    lines = [
        line("a", ""), line("b", "x"), line("c", "x"), line("d", "y", "6"), line("e", "x", "6"),
        line("f", "x", collection="far"), line("g", "x", frame=1), line("h", "", ""),
        line("i", "", ""),
    ]  # fmt: skip
    found = skip_copies(lines)
    assert [x.row.key for x in found if x.row.status == "ok"] == ["b", "f", "g", "h", "i"]
    assert found[0].row.reason == found[2].row.reason == "duplicate: the same bytes as b"
    assert found[3].row.reason == found[4].row.reason
    assert "different labels: d, e" in found[3].row.reason
    assert found[3].row.image_file == ""


def test_counts_add_up() -> None:
    rows = [
        Row("a", label="x", patient="p", mask_file="m"), Row("b"), Row("c", status="skipped"),
    ]  # fmt: skip
    assert count_rows(rows) == {
        "found": 3, "read": 2, "skipped": 1, "labelled": 1, "no_label": 1, "no_patient": 1,
        "masks": 1,
    }  # fmt: skip
    assert count_rows([replace(row, status="skipped") for row in rows])["read"] == 0
