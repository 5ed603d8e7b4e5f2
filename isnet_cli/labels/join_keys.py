"""The values by which images and label rows can meet: paths, names, and header identifiers."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from isnet_cli.images.find import list_places, normalise_path, strip_suffix
from isnet_cli.images.types import Identity
from isnet_cli.labels.csv_table import CsvTable

FILE_KINDS = ("path", "name", "stem")  # from strong to weak
FOLDER = "folder"  # of a patient or an examination
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
    * ``name``: the image's absolute path ends like the cell, so ``a/1.png`` fits ``x/a/1.png`` but
      neither ``1.png`` nor ``b/1.png``. Where the column has folders and one of its cells is the
      path of an image, the cells start at a known folder: the others then name whole paths too.
      Where no cell fits, the folders that all cells begin with are left out (a tree that was
      moved), and the rest must be the image's whole path below the first root. Where none fits
      then, a cell may start anywhere above the root: it ends like the image's path below it, and
      fits the image with the longest such path.
    * ``stem``: as ``name``, whatever the suffixes and the case.
    * ``name alone``, ``stem alone``: the last component only.
    * ``uid``, ``accession``, ``patient``: the cell is the identifier in the image's header.
    * ``folder``: the cell is a folder that the image lies in, or its number, so ``501`` and
      ``s501`` fit ``p10/s501/1.png``.

    Args:
        images: What is known of each image.
        table: The label file.
        column: The column that may hold keys, or two columns ``FOLDER/FILE``, whose cells together
            are a path.
        kind: One of the kinds above.
        roots: Folders, besides the table's own, that relative paths may start from.

    Returns:
        Row indices for each image, or None when no image has this kind of key.
    """
    cells = read_keys(table, column)
    if kind in ID_KINDS:
        return _match_identifiers(images, cells, kind)
    if kind == FOLDER:
        return _match_folders(images, cells, roots)
    if kind in ALONE:
        return _match_last_parts(images, cells, ALONE[kind], roots)
    exact = _match_paths(images, table, cells, roots)
    if kind == "path":
        return exact
    list_forms = _list_forms(kind)
    inside = [list_forms(_split(_inside(image.path, roots))) for image in images]
    cell_parts = [_split_cell(cell) for cell in cells]
    whole = [_list_last_forms(parts, list_forms) for parts in cell_parts]
    has_folders = any(len(parts) > 1 for forms in cell_parts for parts in forms)
    if any(exact) and has_folders:
        found = _match_equal(inside, whole)
    else:
        found = _match_ends(_list_absolute_forms(images, kind), whole)
        if not any(exact) and not any(found):
            depth = _count_common_folders([forms[0] for forms in cell_parts if forms])
            rests = [[parts[depth:] for parts in forms] for forms in cell_parts]
            found = _match_equal(inside, [_list_last_forms(parts, list_forms) for parts in rests])
            if not any(found):
                found = _match_moved(inside, _list_absolute_forms(images, kind), whole)
    return [_unite(a, b) for a, b in zip(exact, found, strict=True)]


def read_keys(table: CsvTable, column: str) -> list[str]:
    """Cells of a column, or of two columns ``FOLDER/FILE`` as paths."""
    return read_row_keys(table, column, range(len(table.rows)))


def read_row_keys(table: CsvTable, column: str, rows: Sequence[int]) -> list[str]:
    """As `read_keys`, of these rows alone."""
    folder, file = _find_places(table, column)
    found = [table.rows[row] for row in rows]
    if folder is None:
        return [cells[file] for cells in found]
    return [f"{x[folder]}/{x[file]}" if x[folder] and x[file] else x[file] for x in found]


def _find_places(table: CsvTable, column: str) -> tuple[int | None, int]:
    """Places of the folder's column, where there is one, and of the file's column."""
    places = {name: place for place, name in enumerate(table.columns)}
    if column in places:
        return None, places[column]
    pairs = ((folder, column.removeprefix(f"{folder}/")) for folder in places)
    return next((places[a], places[b]) for a, b in pairs if b != column and b in places)


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
    cells = [_split_cell(cell) for cell in read_keys(table, column)]
    rows = [_list_last_forms(parts, list_forms) for parts in cells]
    return _match_ends(_list_absolute_forms(images, kind), rows)


def _match_identifiers(
    images: Sequence[ImageName], cells: Sequence[str], kind: str
) -> Matches | None:
    values = [getattr(image.identity, kind).strip() for image in images]
    if not any(values):
        return None
    return _match_equal([[(v,)] if v else [] for v in values], [[(c,)] if c else [] for c in cells])


def _match_folders(
    images: Sequence[ImageName], cells: Sequence[str], roots: Sequence[Path]
) -> Matches:
    names = [
        {form for part in _split(_inside(image.path, roots))[:-1] for form in _list_numbers(part)}
        for image in images
    ]
    return _match_equal(
        [[(form,) for form in sorted(forms)] for forms in names],
        [[(cell.casefold(),)] if cell else [] for cell in cells],
    )


def _list_numbers(folder: str) -> list[str]:
    """A folder's name as cells may write it: in full, and its number alone."""
    number = re.fullmatch(r"[^\W\d_]{1,10}[-_ ]?(\d+)", folder)
    return [folder.casefold(), *([number.group(1)] if number else [])]


def _match_last_parts(
    images: Sequence[ImageName], cells: Sequence[str], kind: str, roots: Sequence[Path]
) -> Matches:
    list_forms = _list_forms(kind)
    names = [
        [form[-1:] for form in list_forms(_split(_inside(image.path, roots)))] for image in images
    ]
    cell_names = [
        [form[-1:] for form in _list_last_forms(_split_cell(cell), list_forms)] for cell in cells
    ]
    return _match_equal(names, cell_names)


def _match_paths(
    images: Sequence[ImageName], table: CsvTable, cells: Sequence[str], roots: Sequence[Path]
) -> Matches:
    """Rows whose cell is the image's file, from one of the folders that cells may start at."""
    bases = list(dict.fromkeys(os.path.abspath(base) for base in (table.path.parent, *roots)))
    forms = [_list_name_forms((normalise_path(os.path.abspath(image.path)),)) for image in images]
    keys = [
        [
            _list_name_forms((place,))[-1]
            for text in _decode(cell)
            for place in list_places(text, bases)
        ]
        for cell in cells
    ]
    return _match_equal(forms, keys)


def _match_moved(
    images: Sequence[Sequence[Key]],
    absolute: Sequence[Sequence[Key]],
    rows: Sequence[Sequence[Key]],
) -> Matches:
    """Rows whose path ends like the image's; each row fits the longest such paths alone.

    Of several rows that fit an image, those with most folders of its absolute path are meant.
    """
    known = {key for forms in images for key in forms}
    longest = []
    for keys in rows:
        ends = [key[-n:] for key in keys for n in range(len(key), 0, -1) if key[-n:] in known]
        longest.append([key for key in ends if len(key) == max(map(len, ends))])
    found = _match_equal(images, longest)
    return [
        _choose_nearest(forms, fits, rows) if len(fits) > 1 else fits
        for forms, fits in zip(absolute, found, strict=True)
    ]


def _choose_nearest(
    forms: Sequence[Key], fits: list[int], rows: Sequence[Sequence[Key]]
) -> list[int]:
    shared = {
        row: max((_count_shared(form, key) for form in forms for key in rows[row]), default=0)
        for row in fits
    }
    best = max(shared.values())
    return [row for row in fits if shared[row] == best]


def _count_shared(one: Key, other: Key) -> int:
    """How many last components two paths have in common."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _match_ends(images: Sequence[Sequence[Key]], rows: Sequence[Sequence[Key]]) -> Matches:
    """Rows whose path is the end of the image's path."""
    lengths = sorted({len(key) for keys in rows for key in keys} - {0})
    ends = [[parts[-n:] for parts in forms for n in lengths if n <= len(parts)] for forms in images]
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


def _list_absolute_forms(images: Sequence[ImageName], kind: str) -> list[list[Key]]:
    list_forms = _list_forms(kind)
    return [list_forms(_split(os.path.abspath(image.path))) for image in images]


def _list_last_forms(paths: Sequence[Key], list_forms: Callable[[Key], list[Key]]) -> list[Key]:
    """The form that each spelling of a cell has."""
    return [form for parts in paths for form in list_forms(parts)[-1:]]


def _split_cell(cell: str) -> list[Key]:
    """Components of a cell's path, in each way of reading it."""
    return list(dict.fromkeys(parts for text in _decode(cell) if (parts := _split(text))))


def _decode(cell: str) -> list[str]:
    """A cell as a path: of a URL the path alone, signs written as ``%20`` also as signs."""
    scheme, mark, rest = cell.partition("://")
    if mark and scheme.isalnum():
        path = re.split(r"[?#]", rest.partition("/")[2])[0]
        return [unquote(path)]
    return list(dict.fromkeys([cell, unquote(cell)])) if "%" in cell else [cell]


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
    whole = os.path.abspath(path)
    root = os.path.abspath(roots[0]) if roots else os.path.dirname(whole)
    start = root.rstrip(os.sep) + os.sep
    return whole.removeprefix(start) if whole.startswith(start) else os.path.basename(whole)


def _split(text: str) -> Key:
    """Components of a path for comparison, without its root."""
    return tuple(part for part in normalise_path(text).split("/") if part not in {"", ".", ".."})
