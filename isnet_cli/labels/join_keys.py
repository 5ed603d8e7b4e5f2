"""The values by which images and label rows can meet: paths, names, and header identifiers."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from isnet_cli.images.find import normal, places, stem
from isnet_cli.images.types import Identity
from isnet_cli.labels.csv_table import Table

FILE_KINDS = ("path", "name", "stem")  # from strong to weak
ALONE = {"name alone": "name", "stem alone": "stem"}  # whatever the folders say
ID_KINDS = ("uid", "accession", "patient")
Places = list[list[int]]  # rows that fit, for each image
Key = tuple[str, ...]  # components of a path, or one identifier


@dataclass(frozen=True)
class ImageName:
    """What is known of an image before its pixels are read.

    Attributes:
        path: The file.
        shown: Its name for messages: its key.
        identity: From the header; empty where there is none or it was not read.
    """

    path: Path
    shown: str
    identity: Identity = field(default_factory=Identity)


def fitting_rows(
    images: Sequence[ImageName], table: Table, column: str, kind: str, roots: Sequence[Path]
) -> Places | None:
    """The rows whose cell fits each image, or None when no image has this kind of key.

    Images that fit the same rows share one list, so that it need be judged only once.

    * ``path``: the cell, from the table's folder or one of `roots`, is the image's file. A cell
      without an image suffix fits the file with any or none.
    * ``name``: the image's path below the first root ends like the cell, so ``a/1.png`` fits
      ``x/a/1.png`` but neither ``1.png`` nor ``b/1.png``. Where no cell fits, the folders that all
      cells begin with are left out (a tree that was moved), and the rest must be the image's whole
      path below the root. A cell that is the image's path always fits.
    * ``stem``: as ``name``, whatever the suffixes and the case.
    * ``name alone``, ``stem alone``: the last component only.
    * ``uid``, ``accession``, ``patient``: the cell is the identifier in the image's header.
    """
    cells = table.column(column)
    if kind in ID_KINDS:
        found = [getattr(image.identity, kind).strip() for image in images]
        return _equal([[(v,)] if v else [] for v in found], _tuples(cells)) if any(found) else None
    exact = _by_path(images, table, cells, roots)
    if kind == "path":
        return exact
    form = _forms_of_name if kind.startswith("name") else _forms_of_stem
    image_forms = [form(_parts(_inside(image.path, roots))) for image in images]
    cell_parts = [_parts(cell) for cell in cells]
    if kind in ALONE:
        names = [[parts[-1:] for parts in forms] for forms in image_forms]
        return _equal(names, [form(parts)[-1:] and [form(parts)[-1][-1:]] for parts in cell_parts])
    alike = _alike(image_forms, [form(parts)[-1:] for parts in cell_parts])
    if not any(exact) and not any(alike):
        depth = _common_depth(cell_parts)
        alike = _equal(image_forms, [form(parts[depth:])[-1:] for parts in cell_parts])
    return [_union(a, b) for a, b in zip(exact, alike, strict=True)]


def _by_path(
    images: Sequence[ImageName], table: Table, cells: Sequence[str], roots: Sequence[Path]
) -> Places:
    bases = list(dict.fromkeys(os.path.abspath(base) for base in (table.path.parent, *roots)))
    forms = [_forms_of_name((normal(os.path.abspath(image.path)),)) for image in images]
    keys = [[_forms_of_name((place,))[-1] for place in places(cell, bases)] for cell in cells]
    return _equal(forms, keys)


def _forms_of_name(parts: Key) -> list[Key]:
    """A path as cells may write it: in full when it has an image suffix, and without suffix.

    The last form of a cell is the one it has; an image can be reached by both of its forms.
    """
    if not parts:
        return []
    bare = (*parts[:-1], "~" + stem(parts[-1]))
    return [bare, (*parts[:-1], "=" + parts[-1])] if stem(parts[-1]) != parts[-1] else [bare]


def _forms_of_stem(parts: Key) -> list[Key]:
    return [tuple(part.casefold() for part in (*parts[:-1], stem(parts[-1])))] if parts else []


def _tuples(cells: Sequence[str]) -> list[list[Key]]:
    return [[(cell,)] if cell else [] for cell in cells]


def _equal(images: Sequence[Sequence[Key]], rows: Sequence[Sequence[Key]]) -> Places:
    """Rows that share a form with the image."""
    of_key: dict[Key, list[int]] = defaultdict(list)
    wanted = {key for forms in images for key in forms}
    for row, keys in enumerate(rows):
        for key in keys:
            if key in wanted:
                of_key[key].append(row)
    none: list[int] = []
    found = []
    for forms in images:
        rows_of_image = none
        for key in forms:
            rows_of_image = _union(rows_of_image, of_key.get(key, none))
        found.append(rows_of_image)
    return found


def _union(one: list[int], two: list[int]) -> list[int]:
    """Rows of both without repetition; where one is empty, the other list itself.

    Images with the same rows thus share one list, however long it is.
    """
    if not one or not two:
        return one or two
    return one if one is two else list(dict.fromkeys(one + two))


def _alike(images: Sequence[Sequence[Key]], rows: Sequence[Sequence[Key]]) -> Places:
    """Rows whose path is the end of the image's path."""
    ends = [[parts[-n:] for parts in forms for n in range(1, len(parts) + 1)] for forms in images]
    return _equal(ends, rows)


def _common_depth(cells: Sequence[Key]) -> int:
    """How many leading folders all paths have in common."""
    folders = [parts[:-1] for parts in cells if parts]
    first, last = (min(folders), max(folders)) if folders else ((), ())
    return next(
        (n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )


def _inside(path: Path, roots: Sequence[Path]) -> str:
    """The path below the first root; outside of it, the name alone."""
    whole = Path(os.path.abspath(path))
    root = Path(os.path.abspath(roots[0])) if roots else whole.parent
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else whole.name


def _parts(text: str) -> Key:
    """Components of a path for comparison, without its root."""
    return tuple(
        part for part in PurePosixPath(normal(text)).parts if part not in {"/", "//", ".."}
    )
