"""The values by which films and label rows can meet: paths, names, and header identifiers."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from isnet_cli.data.collect import IMAGE_SUFFIXES
from isnet_cli.data.csvtable import Table
from isnet_cli.data.types import Identity

FILE_KINDS = ("path", "folders and name", "name", "stem")  # from strong to weak


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


def film_values(films: Sequence[FilmName], kind: str, depth: int) -> list[str]:
    """The value of each film for one kind of key, empty where it has none.

    Args:
        films: The films.
        kind: One of `FILE_KINDS`, ``uid``, ``accession``, ``patient``.
        depth: For ``folders and name``: how many trailing components of the path count.
    """
    if kind in {"uid", "accession", "patient"}:
        return [getattr(film.identity, kind).strip() for film in films]
    return [_file_value(normal(os.path.abspath(film.path)), kind, depth) for film in films]


def row_values(
    table: Table, column: str, kind: str, depth: int, roots: Sequence[Path]
) -> list[tuple[str, ...]]:
    """The values under which each row can be found; several only for relative paths."""
    cells = table.column(column)
    if kind in {"uid", "accession", "patient"}:
        return [(cell,) if cell else () for cell in cells]
    if kind == "path":
        bases = list(dict.fromkeys(os.path.abspath(base) for base in (table.path.parent, *roots)))
        return [tuple(places(cell, bases)) for cell in cells]
    values = [_file_value(normal(cell), kind, depth) if cell else "" for cell in cells]
    return [(value,) if value else () for value in values]


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


def _file_value(path: str, kind: str, depth: int) -> str:
    if kind == "path":
        return path
    name = PurePosixPath(path).name
    if kind == "name":
        return name
    if kind == "stem":
        return stem(name).casefold()
    parts = [part for part in PurePosixPath(path).parts if part not in {"/", ".."}]
    return "/".join([*parts[-depth:-1], stem(name)]) if len(parts) >= depth else ""
