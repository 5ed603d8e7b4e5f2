"""A CSV as people have it: any common delimiter and encoding, read as text, refused when torn."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from isnet_cli.config.schema import Limits
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import read_bytes

DELIMITERS = (",", ";", "\t", "|")
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
DELIMITER_LINES, DELIMITER_CHARACTERS = 200, 2_000_000  # that tell the delimiter
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark starts with the other's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = ("cp1252", "latin-1")
INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"  # marks that editors leave around cells
WORKBOOKS = {b"PK\x03\x04": "a workbook or zip file", b"\xd0\xcf\x11\xe0": "an old workbook"}


@dataclass(frozen=True)
class CsvTable:
    """A CSV in memory; every cell is trimmed text, never a number.

    Attributes:
        path: The file.
        columns: Header names, trimmed, each different; an empty one is called ``column N``, the
            second of two equal ones ``NAME (2)``.
        rows: One tuple of cells per data row, as long as `columns`.
        lines: Line of the file on which each row ends, for messages.
        delimiter: The one that was found or configured.
        encoding: Python's name of the encoding.
        notes: What is odd about the file, one sentence each.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    delimiter: str
    encoding: str
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> list[str]:
        """All cells of one column."""
        index = self.columns.index(name)
        return [row[index] for row in self.rows]


def read_table(path: Path, delimiter: str = "auto", limits: Limits | None = None) -> CsvTable:
    """Reads a CSV with a header line.

    Accepts comma, semicolon, tab and bar; quotes; UTF-8 and UTF-16 (with or without byte-order
    mark) and Western 8-bit text; Excel's ``sep=;`` line; empty lines. Rows that lack their last
    cells are filled up with empty ones (spreadsheets drop trailing delimiters); a row with more
    cells than the header is refused, since an unquoted delimiter would shift its values. A header
    with more names than any row has cells is mended where a bracket shows which comma was meant as
    text, as in ``file,size [w,h],label``. Columns without a name and cells are dropped, and so are
    columns that repeat another one, name and cells.

    Raises:
        IsnetError: Kind "data": missing, empty, a workbook, torn quotes, no header line,
            a row that is too long; the message names file and line.
    """
    limits = limits or Limits()
    text, encoding = _decode(path, limits)
    skipped = 0
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep=") and first[4:5] in DELIMITERS:
        text, skipped = rest, 1
        delimiter = first[4] if delimiter == "auto" else delimiter
    found = _find_delimiter(text) if delimiter == "auto" else delimiter
    records = _read_records(path, text, found, skipped, limits)
    if not records:
        raise IsnetError(
            "data", f"{path}: empty, expected a header line and rows", fix="check data.labels.file"
        )
    header_line, header = records[0]
    widest = len(header)
    if len(records) > 1:
        widest = max(_count_cells(cells) for _, cells in records[1:])
    header = _join_fragments(header, widest, found)
    columns = _name_columns(path, header_line, header)
    if len(columns) * len(records) > limits.cells:
        raise _too_many_cells(path, f"{len(columns)} columns of {len(records)} rows", limits)
    rows, lines = [], []
    for line, cells in records[1:]:
        rows.append(_fit_row(path, line, cells, len(columns), found))
        lines.append(line)
    if not rows:
        raise IsnetError(
            "data",
            f"{path}: a header line and no rows, expected one row per image",
            fix="check data.labels.file",
        )
    kept = _choose_columns(header, columns, rows)
    if len(kept) < len(columns):
        rows = [tuple(row[i] for i in kept) for row in rows]
    notes = []
    if widest < len(columns):
        lost = ", ".join(repr(name) for name in columns[widest:][:5])
        notes.append(f"{path}: no row has a cell for the last columns {lost}")
    if encoding in WESTERN and not text.isascii():
        notes.append(
            f"{path}: not UTF-8, read as Western text ({encoding}); if names look wrong, save it as"
            " 'CSV UTF-8'"
        )
    return CsvTable(
        path,
        tuple(columns[i] for i in kept),
        tuple(rows),
        tuple(lines),
        found,
        encoding,
        tuple(notes),
    )


def _too_many_cells(path: Path, found: str, limits: Limits) -> IsnetError:
    return IsnetError(
        "data",
        f"{path}: {found}, at most {limits.cells} cells are read",
        fix="leave columns out that are not needed, or raise limits.cells",
    )


def _decode(path: Path, limits: Limits) -> tuple[str, str]:
    try:
        content = read_bytes(path, limits.table_bytes)
    except OSError as error:
        what = "a folder" if path.is_dir() else (error.strerror or "unreadable").lower()
        raise IsnetError(
            "data", f"{path}: {what}, expected a CSV file", fix="check data.labels.file"
        ) from error
    for magic, what in WORKBOOKS.items():
        if content.startswith(magic):
            raise IsnetError(
                "data",
                f"{path}: {what}, expected text with one row per line",
                fix="in the spreadsheet: save as 'CSV UTF-8', then name that file",
            )
    for encoding in _list_encodings(content):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text.replace("\r\n", "\n").replace("\r", "\n"), encoding
    raise IsnetError("data", f"{path}: not text, expected a CSV file", fix="save it as 'CSV UTF-8'")


def _list_encodings(content: bytes) -> tuple[str, ...]:
    for mark, encoding in BOMS:
        if content.startswith(mark):
            return (encoding,)
    head = content[:1000]
    if head.count(b"\0") > len(head) // 4:  # every other byte of Western UTF-16 is zero
        return ("utf-16-le",) if head[1::2].count(0) >= head[::2].count(0) else ("utf-16-be",)
    return ("utf-8", *WESTERN)


def _find_delimiter(text: str) -> str:
    """The delimiter that cuts most rows into as many cells as the header, and into the most."""
    head = "".join(islice(_iterate_lines(text[:DELIMITER_CHARACTERS]), DELIMITER_LINES))
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        try:
            rows = [row for row in csv.reader(io.StringIO(head), delimiter=delimiter) if any(row)]
        except csv.Error:
            continue
        width = len(rows[0]) if rows else 0
        if width < 2:
            continue
        share = sum(len(row) == width for row in rows) / len(rows)
        if (round(share, 1), width) > best_score:
            best, best_score = delimiter, (round(share, 1), width)
    return best


def _read_records(
    path: Path, text: str, delimiter: str, skipped: int, limits: Limits
) -> list[tuple[int, list[str]]]:
    reader = csv.reader(
        _iterate_lines(text), delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t"
    )
    records, count = [], 0
    marks = any(mark in text for mark in INVISIBLE)
    try:
        for cells in reader:
            count += len(cells)
            if count > limits.cells:
                raise _too_many_cells(path, f"more than {limits.cells} cells", limits)
            trimmed = [cell.strip() for cell in cells]
            if marks:
                trimmed = [cell.strip(INVISIBLE).strip() for cell in trimmed]
            if any(trimmed):
                records.append((reader.line_num + skipped, trimmed))
    except csv.Error as error:
        raise IsnetError(
            "data",
            f"{path}:{reader.line_num + skipped}: broken row ({error}),"
            f" expected cells separated by {NAMES[delimiter]}, quotes in pairs",
            fix="mend the quotes on that line, or set data.labels.delimiter",
        ) from error
    return records


def _iterate_lines(text: str) -> Iterator[str]:
    """The lines with their ends; a file in memory would take four bytes per character."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _count_cells(cells: list[str]) -> int:
    """Cells of a row without the empty ones at its end."""
    count = len(cells)
    while count and not cells[count - 1]:
        count -= 1
    return count


def _join_fragments(header: list[str], width: int, delimiter: str) -> list[str]:
    """The header with names in brackets put together again, when it then fits the rows."""
    while header and not header[-1]:
        header = header[:-1]
    if len(header) <= width:
        return header
    joined: list[str] = []
    open_brackets = 0
    for name in header:
        if open_brackets > 0:
            joined[-1] += delimiter + name
        else:
            joined.append(name)
        open_brackets += sum(map(name.count, "([{")) - sum(map(name.count, ")]}"))
    return joined if len(joined) == width and open_brackets == 0 else header


def _choose_columns(
    header: list[str], columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> list[int]:
    """Places of the columns that say something of their own."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    repeated = {name for name, count in Counter(header).items() if count > 1}
    kept = []
    for place, name in enumerate(header):
        if name and name not in repeated:
            kept.append(place)
            continue
        cells = tuple(row[place] for row in rows)
        if (name or any(cells)) and (name, cells) not in seen:
            kept.append(place)
        seen.add((name, cells))
    return kept


def _name_columns(path: Path, line: int, header: list[str]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    used: Counter[str] = Counter()
    for place, name in enumerate(header, start=1):
        choice = name or f"column {place}"
        while choice in names:
            used[name] += 1
            choice = f"{name} ({used[name] + 1})"
        names[choice] = None
    suffixes = (".png", ".jpg", ".jpeg", ".dcm", ".tif", ".tiff", ".dicom")
    image = next((name for name in names if name.lower().endswith(suffixes)), None)
    if image is not None:
        raise IsnetError(
            "data",
            f"{path}:{line}: the first line names an image ('{image}'), expected a header line",
            fix="put a line with column names on top, such as: file,label",
        )
    return tuple(names)


def _fit_row(
    path: Path, line: int, cells: list[str], width: int, delimiter: str
) -> tuple[str, ...]:
    if len(cells) == width:
        return tuple(cells)
    if any(cells[width:]):
        raise IsnetError(
            "data",
            f"{path}:{line}: {len(cells)} cells, expected {width} as in the header"
            f" (separated by {NAMES[delimiter]})",
            fix="put cells that contain the delimiter in quotes, or set data.labels.delimiter",
        )
    return tuple(cells[:width]) + ("",) * (width - len(cells))
