from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.core.files import write_csv
from isnet_cli.core.records.read import find_name_fault
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import is_manifest, read_manifest, rows_to_dicts
from isnet_cli.images.types import ROW_FIELDS, Identity, Row

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)
ROWS = st.lists(
    st.builds(
        Row,
        key=TEXT.filter(lambda text: not find_name_fault(text)),
        path=TEXT,
        frame=st.integers(0, 9),
        height=st.integers(0, 9999),
        label=TEXT,
        source=TEXT,
        status=st.sampled_from(["ok", "skipped"]),
        reason=TEXT,
        notes=TEXT,
        spacing=st.sampled_from(["", "0.143;0.143", "1e-05;2"]),
    ),
    max_size=5,
    unique_by=lambda row: row.key,
)


def write(path: Path, rows: list[Row]) -> Path:
    write_csv(path, ROW_FIELDS, rows_to_dicts(rows))
    return path


@settings(deadline=None)
@given(rows=ROWS)
def test_rows_come_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "manifest.csv", rows)
    assert read_manifest(path) == rows
    assert is_manifest(path)


def test_other_tables_are_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,label\na,b\n")
    assert not is_manifest(path)
    assert not is_manifest(tmp_path / "missing.csv")
    assert not is_manifest(tmp_path)


GOOD = Row("a/b", height=5, spacing="0.1;0.2")


def broken(path: Path, old: str, new: str) -> Path:
    write(path, [GOOD, replace(GOOD, key="c")])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("key,path", "name,path", ":1: not a manifest (lacks key)"),
        ("a/b,", ",", ":2: no key"),
        (",ok,", ",fine,", ":2: status 'fine', expected ok or skipped"),
        (",5,", ",x,", ":2: height 'x', expected a whole number"),
        (",5,", ",-5,", ":2: height '-5', expected a whole number"),
        ("\nc,", "\na/b,", ":3: key 'a/b' a second time"),
        (",,ok", ",ok", ":2: another number of cells"),
        ("a/b,", "../b,", ":2: key '../b', expected a name inside the folder"),
        ("a/b,", "/b,", ":2: key '/b', expected a name inside the folder"),
        ("a/b,", "C:b,", ":2: key 'C:b', expected a name inside the folder"),
        ("a/b,", "a\\b,", ":2: key 'a\\b', expected a name inside the folder"),
        *(
            (",0.1;0.2", f",{bad}", ":2: spacing")
            for bad in ("0.1", "x;1", "0;1", "1;inf", "1;2;3")
        ),
        (",,ok", ',"ok', "cannot be read as a manifest"),
    ],
)
def test_broken_manifests_are_refused_by_line(
    tmp_path: Path, old: str, new: str, found: str
) -> None:
    path = broken(tmp_path / "manifest.csv", old, new)
    with pytest.raises(IsnetError) as caught:
        read_manifest(path)
    assert caught.value.message.startswith(str(path))
    assert found in caught.value.message
    assert caught.value.fix == "isnet ingest CONFIG"


@pytest.mark.parametrize("column", ["key", "image_file"])
@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "a\\b", "..", "a\0b"])
def test_names_that_lead_out_of_the_run_are_refused(tmp_path: Path, column: str, name: str) -> None:
    path = write(tmp_path / "m.csv", [replace(Row("a"), **{column: name})])
    with pytest.raises(IsnetError, match=column if "\0" not in name else "manifest|name") as caught:
        read_manifest(path)
    assert caught.value.kind == "data"


def test_the_spacing_as_numbers() -> None:
    assert GOOD.pixel_spacing == (0.1, 0.2)
    assert Row("a").pixel_spacing is None


def test_a_manifest_without_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    rows = [{k: v for k, v in line.items() if k != "spacing"} for line in rows_to_dicts([GOOD])]
    write_csv(path, ROW_FIELDS[:-1], rows)
    assert not is_manifest(path)
    with pytest.raises(IsnetError, match=r":1: not a manifest \(lacks spacing\)"):
        read_manifest(path)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="cannot be read as a manifest"):
        read_manifest(tmp_path / "manifest.csv")


def test_identity_is_not_shown() -> None:
    shown = repr(Identity("CANARY^PHI", "ACC-CANARY", "1.2.3"))
    assert "CANARY" not in shown
    assert "1.2.3" not in shown


def test_rows_have_no_identifying_field() -> None:
    assert ROW_FIELDS[0] == "key"
    assert not {"name", "patient_id", "accession", "uid", "birth_date"} & set(ROW_FIELDS)
    assert Row("a").status == "ok"
