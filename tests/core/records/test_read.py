"""JSON and CSV that the program wrote: what is not as expected is named, place and all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from isnet_cli.core.records.read import (
    FaultyFileError,
    Record,
    find_faults,
    find_name_fault,
    parse_csv,
    parse_json,
    read_record,
    read_rows,
)
from isnet_cli.errors import IsnetError


class Example(Record):
    number: float
    words: list[str] = Field(default_factory=list)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "Expecting value"),
        ("NaN", "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ("1e999", "too large"),
        ("9" * 5000, "number too long"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": 1, "a": 2}', "key 'a' twice"),
        ('{\n"a": }', "Expecting value"),
    ],
)
def test_what_is_no_json(text: str, found: str) -> None:
    with pytest.raises(FaultyFileError, match=found):
        parse_json(text)


def test_a_record_is_given_back_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"number": 1, "more": [null]}')
    assert read_record(path, Example, what="w", fix="f") == {"number": 1, "more": [None]}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[]", "found a list, expected an object"),
        (b'{"number": "1"}', "number: found"),
        (b'{"words": []}', "number: missing"),
        (b'{"number": 1, "words": [1]}', r"words\.?\[?0"),
        (b"\xff{}", "not UTF-8"),
        (b'{"number":\n\n}', r"a\.json:3: not a thing"),
        (None, "no such file"),
    ],
)
def test_a_faulty_record_names_file_place_and_fix(
    tmp_path: Path, content: bytes | None, found: str
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IsnetError, match=found) as caught:
        read_record(path, Example, what="a thing", fix="type this", kind="weights")
    assert (caught.value.kind, caught.value.fix) == ("weights", "type this")
    assert str(path) in caught.value.message


def test_many_faults_are_examples_and_a_count(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"number": 1, "words": [1, 2, 3, 4, 5, 6, 7, 8]}')
    with pytest.raises(IsnetError) as caught:
        read_record(path, Example, what="a thing", fix="")
    assert len(caught.value.details) == 5
    assert caught.value.details[-1] == "... and 3 more"


def test_deep_values_have_no_end_in_a_crash() -> None:
    tree: dict[str, object] = {}
    for _ in range(20_000):
        tree = {"number": tree}
    assert find_faults(tree, Example)


TABLE = "key,verdict,area,share,png\na,ok,0.5,1,x/a.png\nb,bad,,,\n"


def read(path: Path, text: str, **options: object) -> list[dict[str, str]]:
    path.write_text(text)
    return read_rows(path, ("key",), fix="f", **options)  # type: ignore[arg-type]


def test_a_table_is_read_with_every_cell_checked(tmp_path: Path) -> None:
    rows = read(
        tmp_path / "t.csv", TABLE, values={"verdict": {"ok", "bad"}}, numbers=("area",),
        shares=lambda name: name == "share", unique="key", files=("png",),
    )  # fmt: skip
    assert [row["key"] for row in rows] == ["a", "b"]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("key,", "name,", ":1: no column key"),
        ("bad", "odd", ":3: verdict 'odd', expected bad or ok"),
        ("0.5", "nan", ":2: area 'nan', expected a number"),
        (",1,", ",1.5,", ":2: share '1.5', expected a number from 0 to 1"),
        ("b,bad", "a,bad", ":3: key 'a' a second time"),
        ("b,bad", ",bad", ":3: no key"),
        ("x/a.png", "../a.png", ":2: png '../a.png', expected a name inside the folder"),
        ("a,ok", "/a,ok", ":2: key '/a', expected a name inside the folder"),
        ("b,bad", "b,bad,c", ":3: not a CSV table .another number of cells"),
        ("x/a.png", '"x', "not a CSV table"),
        ("x/a.png", "x\0", "not a CSV table"),
    ],
)
def test_a_faulty_table_names_line_and_cell(tmp_path: Path, old: str, new: str, found: str) -> None:
    with pytest.raises(IsnetError, match=found):
        read(
            tmp_path / "t.csv", TABLE.replace(old, new, 1), values={"verdict": {"ok", "bad"}},
            numbers=("area",), shares=lambda name: name == "share", unique="key", files=("png",),
        )  # fmt: skip


@pytest.mark.parametrize("text", ["", "\n", "a,a\n1,2\n"])
def test_headers_are_there_and_each_once(text: str) -> None:
    with pytest.raises(FaultyFileError):
        parse_csv(text)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "../a",
            "a/../../b",
            "a/..",
            "/a",
            "//a",
            "\\a",
            "a\\..\\b",
            "C:a",
            "c:/a",
        ),
        *("C:\\a", "a\0b", "a\nb", "\x7f", "\\\\server\\a"),
    ],
)
def test_names_that_lead_elsewhere(name: str) -> None:
    assert find_name_fault(name).startswith("expected")


@pytest.mark.parametrize("name", ["a", "a/b.png", "..a", "a..b/c...", "é/ü", "a b", "-a", "a/.b"])
def test_names_of_files_inside(name: str) -> None:
    assert find_name_fault(name) == ""


@given(name=st.text(st.sampled_from("a./\\:C\0 é"), max_size=12))
def test_what_passes_never_leaves_the_folder(name: str) -> None:
    if find_name_fault(name):
        return
    folder = Path("/run/masks")
    assert (folder / name).resolve().is_relative_to(folder)
