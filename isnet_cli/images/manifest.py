"""The manifest: one line per image of a run, written and read without loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path, PurePosixPath, PureWindowsPath

from isnet_cli.core.records.read import (
    FaultyFileError,
    find_name_fault,
    parse_csv,
    read_rows,
    read_text,
)
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import open_text
from isnet_cli.images.mask_files import PAIR
from isnet_cli.images.types import ROW_FIELDS, Row

INTEGERS = tuple(f.name for f in fields(Row) if f.type in {"int", int})
STATUSES = {"ok", "skipped"}
LONGEST = 1000  # characters of a manifest's header line
VERDICTS = ("ok", "suspect", "missing")
QC = "qc.csv"
DIGITS = 15  # of a whole number


def rows_to_dicts(rows: Iterable[Row]) -> list[dict[str, str | int]]:
    """Rows as dictionaries of `ROW_FIELDS`, for the CSV writer."""
    return [asdict(row) for row in rows]


def is_manifest(path: Path) -> bool:
    """Whether a file is a manifest of a run, by its header line."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with open_text(path, "utf-8-sig", errors="replace") as file:
        return tuple(file.readline(LONGEST).strip().split(",")) == ROW_FIELDS


def locate_masks(row: Row, ingest: Path) -> str:
    """The given masks of an image as paths, joined as in `Row.mask_file`.

    Args:
        row: Of the manifest.
        ingest: Folder of the stage, which copies of the run's own are named relative to.
    """
    parts = row.mask_file.split(PAIR) if row.mask_file else []
    return PAIR.join(str(ingest / part) for part in parts)


def read_manifest(path: Path) -> list[Row]:
    """Reads a manifest that a run wrote.

    Raises:
        IsnetError: Kind "data": missing, another table, a cell that is not a whole number where one
            is expected, an unknown status, a name that leads out of the folder, or the same key
            twice; names file and line.
    """
    try:
        names, records = parse_csv(read_text(path))
    except FaultyFileError as error:
        if str(error).startswith("another number"):
            raise _make_fault(path, error.line, str(error)) from error
        raise IsnetError(
            "data",
            f"{path}: cannot be read as a manifest ({error})",
            fix="isnet ingest CONFIG",
        ) from error
    header = tuple(names)
    if header != ROW_FIELDS:
        lacking = [name for name in ROW_FIELDS if name not in header]
        raise IsnetError(
            "data",
            f"{path}:1: not a manifest (lacks {', '.join(lacking[:5]) or 'nothing, but differs'}),"
            f" expected the columns {', '.join(ROW_FIELDS[:4])}, ...",
            fix="isnet ingest CONFIG",
        )
    rows, seen = [], set[str]()
    for line, record in records:
        row = _parse_row(path, line, record)
        if row.key in seen:
            raise _make_fault(path, line, f"key '{row.key}' a second time, expected each once")
        seen.add(row.key)
        rows.append(row)
    return rows


def read_qc(masks: Path) -> list[dict[str, str]]:
    """The lines of ``qc.csv``: verdict on the mask of each image, and why.

    Args:
        masks: Folder of the stage.

    Raises:
        IsnetError: Kind "data": missing, another table, an unknown verdict, or a key twice.
    """
    return read_rows(
        masks / QC, ("key", "verdict", "reason"), fix="isnet masks CONFIG",
        values={"verdict": VERDICTS}, unique="key",
    )  # fmt: skip


def _parse_row(path: Path, line: int, cells: dict[str, str]) -> Row:
    if not cells["key"]:
        raise _make_fault(path, line, "no key, expected the image's name")
    if cells["status"] not in STATUSES:
        raise _make_fault(path, line, f"status '{cells['status']}', expected ok or skipped")
    for name in ("key", "image_file"):
        if cells[name] and (found := find_name_fault(cells[name])):
            raise _make_fault(path, line, f"{name} '{cells[name]:.60}', {found}")
    for part in cells["mask_file"].split(PAIR) if cells["mask_file"] else []:
        if not _is_absolute(part) and (found := find_name_fault(part)):
            raise _make_fault(path, line, f"mask_file '{part:.60}', {found}")
    values: dict[str, str | int] = dict(cells)
    for name in INTEGERS:
        if not cells[name].isascii() or not cells[name].isdigit() or len(cells[name]) > DIGITS:
            raise _make_fault(path, line, f"{name} '{cells[name]}', expected a whole number")
        values[name] = int(cells[name])
    if not _is_spacing(cells["spacing"]):
        raise _make_fault(path, line, f"spacing '{cells['spacing']}', expected 'row;column' in mm")
    return Row(**values)  # type: ignore[arg-type]


def _is_absolute(name: str) -> bool:
    """Whether it is the whole path of an input, on this system or on the one that read it."""
    if "\0" in name:
        return False
    return PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()


def _is_spacing(text: str) -> bool:
    """Empty, or two positive numbers."""
    parts = text.split(";") if text else ["1", "1"]
    try:
        return len(parts) == 2 and all(0 < float(part) < float("inf") for part in parts)
    except ValueError:
        return False


def _make_fault(path: Path, line: int, found: str) -> IsnetError:
    return IsnetError("data", f"{path}:{line}: {found}", fix="isnet ingest CONFIG")
