from __future__ import annotations

import contextlib
import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.errors import IsnetError
from isnet_cli.labels.csv_table import DELIMITERS, read_table


def write(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_every_usual_form_gives_the_same_table(
    tmp_path: Path, delimiter: str, encoding: str, ends: str
) -> None:
    lines = ["file,patient,label", "a.png,007,Fallot'sche", "b.png,010,größer", "c.png,,x"]
    text = ends.join(line.replace(",", delimiter) for line in lines) + ends
    table = read_table(write(tmp_path, text.encode(encoding)))
    assert table.columns == ("file", "patient", "label")
    assert table.delimiter == delimiter
    assert table.column("patient") == ["007", "010", ""]
    assert table.column("label") == ["Fallot'sche", "größer", "x"]
    assert table.lines == (2, 3, 4)


def test_quotes_spaces_empty_lines_and_dropped_trailing_cells(tmp_path: Path) -> None:
    text = ' file , label,note\n\n"a,1.png", "say ""hi""",x\n,,\nb.png,sick\nc.png,sick,,,\n'
    table = read_table(write(tmp_path, text))
    assert table.columns == ("file", "label", "note")
    assert table.rows == (
        ("a,1.png", 'say "hi"', "x"),
        ("b.png", "sick", ""),
        ("c.png", "sick", ""),
    )
    assert table.lines == (3, 5, 6)


def test_commas_inside_cells_do_not_win_over_semicolons(tmp_path: Path) -> None:
    text = "file;report;label\na.png;clear, no effusion, no mass;0\nb.png;one, two;1\n"
    assert read_table(write(tmp_path, text)).columns == ("file", "report", "label")


def test_excel_separator_line_and_unnamed_index_column(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "sep=;\n;file;label\n0;a.png;x\n1;b.png;y\n"))
    assert table.columns == ("column 1", "file", "label")
    assert table.lines == (3, 4)


def test_line_numbers_count_line_breaks_inside_quotes(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, 'file,note\na.png,"two\nlines"\nb.png,x\n'))
    assert table.lines == (3, 4)


def test_one_column_is_a_table(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "file\na b.png\n")).rows == (("a b.png",),)


def test_asked_delimiter_is_used(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a;b,c\n1;2,3\n"), ",")
    assert table.columns == ("a;b", "c")


BAD = {
    "missing": (None, "", "no such file"),
    "empty": ("", "", "empty"),
    "header only": ("file,label\n", "", "no rows"),
    "workbook": (b"PK\x03\x04rest", "", "a workbook or zip file"),
    "old workbook": (b"\xd0\xcf\x11\xe0rest", "", "an old workbook"),
    "binary": (b"\x00\x01\x02\x00\xff", "", "not text"),
    "long row": ("file,label\na.png,x\nb.png,x,y\n", ":3", "3 cells, expected 2"),
    "open quote": ('file,label\na.png,"x\nb.png,y\n', ":3", "broken row"),
    "huge cell": ("file,label\na.png," + "x" * 200_000, ":2", "broken row"),
    "torn quote": ('file,label\na.png,"x"y\n', ":2", "broken row"),
    "no header": ("a.png,normal\nb.png,sick\n", ":1", "names an image ('a.png')"),
}


@pytest.mark.parametrize("case", BAD)
def test_torn_tables_are_refused_with_file_line_and_fix(tmp_path: Path, case: str) -> None:
    content, line, found = BAD[case]
    path = tmp_path / "labels.csv" if content is None else write(tmp_path, content)
    with pytest.raises(IsnetError) as caught:
        read_table(path)
    assert caught.value.kind == "data"
    assert caught.value.message.startswith(f"{path}{line}:")
    assert found in caught.value.message
    assert "expected" in caught.value.message
    assert caught.value.fix


def test_a_folder_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="a folder, expected a CSV file"):
        read_table(tmp_path)


CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).map(str.strip)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8),
    delimiter=st.sampled_from(DELIMITERS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_written_by_the_standard_library_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    encoding: str,
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("file", "patient", "label"), *rows])
    path = tmp_path_factory.getbasetemp() / "round.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    kept = [row for row in rows if any(row)]
    if not kept:
        with pytest.raises(IsnetError, match="no rows"):
            read_table(path, delimiter)
        return
    assert list(read_table(path, delimiter).rows) == kept


@settings(deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_give_a_table_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    with contextlib.suppress(IsnetError):
        table = read_table(path)
        assert all(len(row) == len(table.columns) for row in table.rows)
