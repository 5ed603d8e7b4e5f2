"""The values by which films and label rows can meet: paths, names, and header identifiers."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from isnet_cli.data.collect import IMAGE_SUFFIXES
from isnet_cli.data.csvtable import Table
from isnet_cli.data.types import Identity

FILE_KINDS = ("path", "name", "stem")  # from strong to weak
ALONE = {"name alone": "name", "stem alone": "stem"}  # whatever the folders say
ID_KINDS = ("uid", "accession", "patient")
Places = list[list[int]]  # rows that fit, for each film


@dataclass(frozen=True)
class FilmName:
    """What is known of a film before its pixels are read.

    Attributes:
        path: The file.
        shown: Its name for messages: its key.
        identity: From the header; empty where there is none or it was not read.
    """

    path: Path
    shown: str
    identity: Identity = field(default_factory=Identity)


def fitting_rows(
    films: Sequence[FilmName], table: Table, column: str, kind: str, roots: Sequence[Path]
) -> Places | None:
    """The rows whose cell fits each film, or None when no film has this kind of key.

    * ``path``: the cell, from the table's folder or one of `roots`, is the film's file.
    * ``name``: the cell and the film's path below the first root end alike as far as both go, so
      ``a/1.png`` fits ``x/a/1.png`` and ``1.png``, but not ``b/1.png``. Cells with more folders
      than the film has (a tree that was moved) fit only if no cell of the column is the path of a
      film; a cell that is the film's path always fits.
    * ``stem``: as ``name``, without image suffixes and whatever the case.
    * ``name alone``, ``stem alone``: the last component only.
    * ``uid``, ``accession``, ``patient``: the cell is the identifier in the film's header.
    """
    cells = table.column(column)
    if kind in ID_KINDS:
        values = [getattr(film.identity, kind).strip() for film in films]
        return _equal(values, [(cell,) for cell in cells]) if any(values) else None
    if kind == "path":
        return _by_path(films, table, cells, roots)
    how = ALONE.get(kind, kind)
    film_parts = [_parts(_inside(film.path, roots), how) for film in films]
    cell_parts = [_parts(cell, how) if cell else () for cell in cells]
    if kind in ALONE:
        return _equal([parts[-1] for parts in film_parts], [parts[-1:] for parts in cell_parts])
    exact = _by_path(films, table, cells, roots)
    alike = _alike(film_parts, cell_parts, longer=not any(exact))
    return [list(dict.fromkeys(a + b)) for a, b in zip(exact, alike, strict=True)]


def _by_path(
    films: Sequence[FilmName], table: Table, cells: Sequence[str], roots: Sequence[Path]
) -> Places:
    bases = list(dict.fromkeys(os.path.abspath(base) for base in (table.path.parent, *roots)))
    values = [normal(os.path.abspath(film.path)) for film in films]
    return _equal(values, [tuple(places(cell, bases)) for cell in cells])


def _equal(values: Sequence[str], keys: Sequence[tuple[str, ...]]) -> Places:
    """Rows one of whose keys is the film's value."""
    rows: dict[str, list[int]] = defaultdict(list)
    wanted = set(values) - {""}
    for row, names in enumerate(keys):
        for name in names:
            if name in wanted:
                rows[name].append(row)
    return [rows.get(value, []) for value in values]


def _alike(
    film_parts: Sequence[tuple[str, ...]], cell_parts: Sequence[tuple[str, ...]], *, longer: bool
) -> Places:
    """Rows whose path is the end of the film's path, or the other way round with `longer`."""
    whole: dict[tuple[str, ...], list[int]] = defaultdict(list)
    ends: dict[tuple[str, ...], list[int]] = defaultdict(list)
    wanted = set(film_parts)
    for row, parts in enumerate(cell_parts):
        if parts:
            whole[parts].append(row)
        for size in range(1, len(parts) if longer else 0):
            if parts[-size:] in wanted:
                ends[parts[-size:]].append(row)
    return [
        [row for size in range(1, len(parts) + 1) for row in whole.get(parts[-size:], ())]
        + ends.get(parts, [])
        for parts in film_parts
    ]


def _inside(path: Path, roots: Sequence[Path]) -> str:
    """The path below the first root; outside of it, the name alone."""
    whole = Path(os.path.abspath(path))
    root = Path(os.path.abspath(roots[0])) if roots else whole.parent
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else whole.name


def _parts(text: str, how: str) -> tuple[str, ...]:
    """Components of a path for comparison, without root and drive-relative marks."""
    parts = [part for part in PurePosixPath(normal(text)).parts if part not in {"/", "//", ".."}]
    if how == "name" or not parts:
        return tuple(parts)
    return tuple(part.casefold() for part in (*parts[:-1], stem(parts[-1])))


def places(cell: str, bases: Sequence[str]) -> list[str]:
    """Absolute paths that a path written in a table may mean, one per base folder."""
    if not cell:
        return []
    return list(dict.fromkeys(normal(os.path.join(base, forward(cell))) for base in bases))


def forward(text: str) -> str:
    """`text` with slashes instead of backslashes and one form for composed letters."""
    return unicodedata.normalize("NFC", text.replace("\\", "/"))


def normal(text: str) -> str:
    """A path without ``.`` and ``..``, with forward slashes."""
    return forward(os.path.normpath(forward(text)))


def stem(name: str) -> str:
    """A file name without an image suffix; other dots belong to the name (UIDs have many)."""
    base, suffix = os.path.splitext(name)
    return base if suffix.lower() in IMAGE_SUFFIXES else name
