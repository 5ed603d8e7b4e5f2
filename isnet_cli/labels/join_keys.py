"""The values by which images and label rows can meet: paths, names, and header identifiers."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from isnet_cli.images.find import list_places, normalise_path, strip_suffix
from isnet_cli.images.types import Identity
from isnet_cli.labels.csv_table import CsvTable

FILE_KINDS = ("path", "name", "stem")  # from strong to weak
ALONE = {"name alone": "name", "stem alone": "stem"}  # whatever the folders are
ID_KINDS = ("uid", "accession", "patient")
Matches = list[list[int]]  # rows that fit, for each image
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


def find_rows(
    images: Sequence[ImageName], table: CsvTable, column: str, kind: str, roots: Sequence[Path]
) -> Matches | None:
    """Finds the rows whose cell fits each image.

    Images that fit the same rows share one list, so that it need be judged only once.

    * ``path``: the cell, from the table's folder or one of `roots`, is the image's file. A cell
      without an image suffix fits the file with any or none.
    * ``name``: the image's path below the first root ends like the cell, so ``a/1.png`` fits
      ``x/a/1.png`` but neither ``1.png`` nor ``b/1.png``. Where the column has folders and one of
      its cells is the path of an image, the cells start at a known folder: the others then name
      whole paths too. Where no cell fits, the folders that all cells begin with are left out (a
      tree that was moved), and the rest must be the image's whole path below the root.
    * ``stem``: as ``name``, whatever the suffixes and the case.
    * ``name alone``, ``stem alone``: the last component only.
    * ``uid``, ``accession``, ``patient``: the cell is the identifier in the image's header.

    Args:
        images: What is known of each image.
        table: The label file.
        column: The column that may hold keys.
        kind: One of the kinds above.
        roots: Folders, besides the table's own, that relative paths may start from.

    Returns:
        Row indices for each image, or None when no image has this kind of key.
    """
    cells = table.column(column)
    if kind in ID_KINDS:
        return _match_identifiers(images, cells, kind)
    if kind in ALONE:
        return _match_last_parts(images, cells, ALONE[kind], roots)
    exact = _match_paths(images, table, cells, roots)
    if kind == "path":
        return exact
    list_forms = _list_forms(kind)
    image_forms = [list_forms(_split(_inside(image.path, roots))) for image in images]
    cell_parts = [_split(cell) for cell in cells]
    whole = [list_forms(parts)[-1:] for parts in cell_parts]
    if any(exact) and any(len(parts) > 1 for parts in cell_parts):
        found = _match_equal(image_forms, whole)
    else:
        found = _match_ends(image_forms, whole)
        if not any(exact) and not any(found):
            depth = _count_common_folders(cell_parts)
            moved = [list_forms(parts[depth:])[-1:] for parts in cell_parts]
            found = _match_equal(image_forms, moved)
    return [_unite(a, b) for a, b in zip(exact, found, strict=True)]


def find_rows_by_end(
    images: Sequence[ImageName], table: CsvTable, column: str, kind: str, roots: Sequence[Path]
) -> Matches:
    """Finds the rows that could mean each image: its path ends like the cell.

    Args:
        images: What is known of each image.
        table: The label file.
        column: The column of file names.
        kind: ``path``, ``name`` or ``stem``: how suffixes and case count.
        roots: As in `find_rows`.
    """
    list_forms = _list_forms(kind)
    image_forms = [list_forms(_split(_inside(image.path, roots))) for image in images]
    return _match_ends(image_forms, [list_forms(_split(c))[-1:] for c in table.column(column)])


def _match_identifiers(
    images: Sequence[ImageName], cells: Sequence[str], kind: str
) -> Matches | None:
    values = [getattr(image.identity, kind).strip() for image in images]
    if not any(values):
        return None
    return _match_equal([[(v,)] if v else [] for v in values], [[(c,)] if c else [] for c in cells])


def _match_last_parts(
    images: Sequence[ImageName], cells: Sequence[str], kind: str, roots: Sequence[Path]
) -> Matches:
    list_forms = _list_forms(kind)
    names = [
        [form[-1:] for form in list_forms(_split(_inside(image.path, roots)))] for image in images
    ]
    cell_names = [[form[-1:] for form in list_forms(_split(cell))[-1:]] for cell in cells]
    return _match_equal(names, cell_names)


def _match_paths(
    images: Sequence[ImageName], table: CsvTable, cells: Sequence[str], roots: Sequence[Path]
) -> Matches:
    """Rows whose cell is the image's file, from one of the folders that cells may start at."""
    bases = list(dict.fromkeys(os.path.abspath(base) for base in (table.path.parent, *roots)))
    forms = [_list_name_forms((normalise_path(os.path.abspath(image.path)),)) for image in images]
    keys = [
        [_list_name_forms((place,))[-1] for place in list_places(cell, bases)] for cell in cells
    ]
    return _match_equal(forms, keys)


def _match_ends(images: Sequence[Sequence[Key]], rows: Sequence[Sequence[Key]]) -> Matches:
    """Rows whose path is the end of the image's path."""
    ends = [[parts[-n:] for parts in forms for n in range(1, len(parts) + 1)] for forms in images]
    return _match_equal(ends, rows)


def _match_equal(images: Sequence[Sequence[Key]], rows: Sequence[Sequence[Key]]) -> Matches:
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
            rows_of_image = _unite(rows_of_image, of_key.get(key, none))
        found.append(rows_of_image)
    return found


def _unite(one: list[int], two: list[int]) -> list[int]:
    """Rows of both without repetition; where one is empty, the other list itself.

    Images with the same rows thus share one list, however long it is.
    """
    if not one or not two:
        return one or two
    return one if one is two else list(dict.fromkeys(one + two))


def _list_forms(kind: str) -> Callable[[Key], list[Key]]:
    return _list_stem_forms if kind == "stem" else _list_name_forms


def _list_name_forms(parts: Key) -> list[Key]:
    """A path as cells may write it: in full when it has an image suffix, and without suffix.

    The last form of a cell is the one it has; an image can be reached by both of its forms.
    """
    if not parts:
        return []
    bare = (*parts[:-1], "~" + strip_suffix(parts[-1]))
    return (
        [bare, (*parts[:-1], "=" + parts[-1])] if strip_suffix(parts[-1]) != parts[-1] else [bare]
    )


def _list_stem_forms(parts: Key) -> list[Key]:
    return (
        [tuple(part.casefold() for part in (*parts[:-1], strip_suffix(parts[-1])))] if parts else []
    )


def _count_common_folders(cells: Sequence[Key]) -> int:
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


def _split(text: str) -> Key:
    """Components of a path for comparison, without its root."""
    return tuple(
        part for part in PurePosixPath(normalise_path(text)).parts if part not in {"/", "//", ".."}
    )
