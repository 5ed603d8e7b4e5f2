"""What a collection says of its films, the files it says it in, and the one table made of it."""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isnet_cli.check.collections.drawn import Drawn
from isnet_cli.config.schema import Limits
from isnet_cli.core.files import write_csv
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import read_bytes

Cells = dict[str, str]
HEAD_BYTES = 65_536  # of a table, that its columns are read from
PICTURES = {".png", ".jpg", ".jpeg", ".dcm", ".dicom"}
DESCRIBING = ("file", "patient", "source", "view", "set", "sex", "age", "manufacturer")


@dataclass(frozen=True)
class Film:
    """One row of the table.

    Attributes:
        file: Path of the image below the collection's folder, with forward slashes.
        labels: Column -> cell: one column of a class, or several of findings (1, 0, -1 or empty).
        patient: Identifier; "" where the collection has none.
        source: Hospital or collection.
        view: Projection, in the collection's words.
        set: ``train``, ``val``, ``test``, or "" where the official split does not say.
        sex: As written.
        age: In years, as written.
        manufacturer: Of the device.
    """

    file: str
    labels: Mapping[str, str]
    patient: str = ""
    source: str = ""
    view: str = ""
    set: str = ""
    sex: str = ""
    age: str = ""
    manufacturer: str = ""


@dataclass(frozen=True)
class Reading:
    """A collection, read.

    Attributes:
        films: All films that its tables name.
        task: ``multiclass`` or ``multilabel``.
        sets: Configured sets: name -> share of the films without an official set, None for those
            whose films are named officially; empty: the official sets, as they are.
        repeated: What to make of several rows of one film, as `Data.repeated`.
        notes: What was decided, one sentence each.
        drawn: Findings that people drew into films, also into some that are not there.
    """

    films: Sequence[Film]
    task: str
    sets: Mapping[str, float | None] = field(default_factory=dict)
    repeated: str = "refuse"
    notes: Sequence[str] = ()
    drawn: Sequence[Drawn] = ()


@dataclass(frozen=True)
class Collection:
    """A public collection.

    Attributes:
        name: As ``--dataset`` has it.
        title: Its usual name.
        marks: Files or folders below its folder, of which each group must have one; names may hold
            ``*``.
        columns: Columns that the first file of the first group has; empty: not looked at.
        read: Reads it.
    """

    name: str
    title: str
    marks: tuple[tuple[str, ...], ...]
    read: Callable[[Path], Reading]
    columns: tuple[str, ...] = ()

    def fits(self, folder: Path) -> bool:
        """Whether a folder holds this collection."""
        found = [find_first(folder, group) for group in self.marks]
        if not all(found):
            return False
        first = found[0]
        if not self.columns or first is None:
            return True
        try:
            return set(self.columns) <= set(read_header(first))
        except IsnetError:
            return False


def find_first(folder: Path, patterns: Iterable[str]) -> Path | None:
    """The first file or folder that one of the patterns finds, by name."""
    return next((p for pattern in patterns for p in sorted(folder.glob(pattern))), None)


def require(folder: Path, patterns: Sequence[str]) -> Path:
    """As `find_first`.

    Raises:
        IsnetError: Kind "data": there is none.
    """
    found = find_first(folder, patterns)
    if found is None:
        raise IsnetError(
            "data",
            f"{folder}: no {patterns[0]}, a part of this collection",
            fix="download it, too, or leave --dataset away: isnet init looks at what is there",
        )
    return found


def read_text(path: Path, most: int | None = None) -> str:
    """The text of a file, unpacked when it is a ``.gz``.

    Args:
        path: The file.
        most: Characters that are wanted, about; None: all.

    Raises:
        IsnetError: Kind "data": it cannot be read, or is larger than a table may be.
    """
    limit = Limits().table_bytes
    try:
        content = read_bytes(path, limit)
        if path.suffix.lower() == ".gz":
            content = _unpack(content, most or 4 * limit)
    except (OSError, ValueError, zlib.error) as error:
        raise IsnetError(
            "data", f"{path}: cannot be read as a table", fix="download it again"
        ) from error
    content = content if most is None else content[:most]
    try:
        return content.decode("utf-8-sig", errors="strict" if most is None else "ignore")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _unpack(content: bytes, most: int) -> bytes:
    """Inflated content of a gzip file, up to `most` bytes.

    Raises:
        ValueError: It is larger.
    """
    engine = zlib.decompressobj(wbits=31)
    found = engine.decompress(content, most)
    if engine.unconsumed_tail and most > HEAD_BYTES:
        raise ValueError("too large")
    return found


def read_header(path: Path) -> list[str]:
    """Names of the columns of a table."""
    line = read_text(path, HEAD_BYTES).partition("\n")[0]
    return [name.strip() for name in next(csv.reader([line.strip("\r")]), [])]


def read_lines(path: Path) -> list[Cells]:
    """Rows of a table (CSV, ``.csv.gz``, or a workbook where openpyxl is installed).

    Raises:
        IsnetError: Kind "data": it cannot be read; "usage": a workbook without openpyxl.
    """
    if path.suffix.lower() == ".xlsx":
        return _read_workbook(path)
    lines = csv.reader(io.StringIO(read_text(path), newline=""))
    names = [name.strip() for name in next(lines, [])]
    return [
        dict(zip(names, (cell.strip() for cell in cells), strict=False)) for cells in lines if cells
    ]


def read_json_lines(path: Path) -> list[Cells]:
    """Objects of a file that has one a line; null is an empty cell.

    Raises:
        IsnetError: Kind "data": it cannot be read, or a line is no object.
    """
    try:
        lines = [json.loads(line) for line in read_text(path).splitlines() if line.strip()]
        return [{name: _cell(value) for name, value in line.items()} for line in lines]
    except (ValueError, RecursionError, AttributeError) as error:
        raise IsnetError(
            "data", f"{path}: not an object of JSON a line", fix="download it again"
        ) from error


def _read_workbook(path: Path) -> list[Cells]:
    from importlib.util import find_spec

    if find_spec("openpyxl") is None:
        raise IsnetError(
            "usage", f"{path.name}: a workbook needs openpyxl", fix="pip install 'isnet[excel]'"
        )
    import openpyxl

    content = read_bytes(path, Limits().table_bytes)
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        rows = [[_cell(v) for v in row] for row in book.worksheets[0].iter_rows(values_only=True)]
    except Exception as error:  # of the library: many kinds
        raise IsnetError("data", f"{path}: no workbook", fix="download it again") from error
    names, *lines = rows or [[]]
    return [dict(zip(names, cells, strict=False)) for cells in lines if any(cells)]


def _cell(value: Any) -> str:
    return "" if value is None else str(value).strip()


def list_files(folder: Path) -> dict[str, str]:
    """Name of every picture below a folder -> its path below it; of equal names the first."""
    found: dict[str, str] = {}
    for top, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in PICTURES:
                path = Path(top, name).relative_to(folder).as_posix()
                found.setdefault(name, path)
    return found


def iterate_pictures(folder: Path) -> Iterator[str]:
    """Paths of all pictures below a folder, sorted."""
    for top, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in PICTURES:
                yield Path(top, name).relative_to(folder).as_posix()


def write_table(path: Path, reading: Reading, place: str) -> tuple[list[str], int]:
    """Writes the films as one CSV.

    Args:
        path: The file.
        reading: The collection.
        place: Its folder, as seen from the CSV: paths in the CSV begin with it.

    Returns:
        The label columns, and the number of rows.
    """
    labels = list(dict.fromkeys(name for film in reading.films for name in film.labels))
    used = [n for n in DESCRIBING if n == "file" or any(getattr(f, n) for f in reading.films)]
    rows = [
        {**{n: getattr(f, n) for n in used}, "file": posixpath.join(place, f.file), **f.labels}
        for f in reading.films
    ]
    write_csv(path, [*used, *labels], rows)
    return labels, len(rows)


def count_findings(cells: Sequence[Sequence[str]], names: Sequence[str]) -> list[Cells]:
    """Lists of findings as columns of 1 and 0, one for each of `names`."""
    return [{name: str(int(name in found)) for name in names} for found in map(set, cells)]
