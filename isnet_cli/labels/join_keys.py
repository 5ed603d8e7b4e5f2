"""The values by which images and label rows can meet: paths, names, and header identifiers."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from isnet_cli.images.find import (
    list_places,
    normalise_path,
    normalise_slashes,
    strip_suffix,
)
from isnet_cli.images.types import Identity
from isnet_cli.labels.csv_table import CsvTable

FILE_KINDS = ("path", "name", "stem")  # from strong to weak
FOLDER = "folder"  # of a patient or an examination
ALONE = {"name alone": "name", "stem alone": "stem"}  # whatever the folders are
ID_KINDS = ("uid", "accession", "patient")
Matches = list[list[int]]  # rows that fit, for each image
Key = tuple[str, ...]  # components of a path, or one identifier
DEPTH = 4  # components of a path that tell whether it can be an image's
Rows = Mapping[int, Sequence[Key]]  # forms of the cells that may fit an image, by row


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


class RowFinder:
    """Finds the rows of a table that fit images; what it learns of a column, it keeps.

    Tables have many more rows than there are images. So the images' forms are indexed, and of a
    column only the cells whose last components can be an image's are compared.

    Args:
        images: What is known of each image.
        table: The label file.
        roots: Folders, besides the table's own, that relative paths may start from.
    """

    def __init__(self, images: Sequence[ImageName], table: CsvTable, roots: Sequence[Path]) -> None:
        self.images = images
        self.table = table
        self.roots = roots
        self._absolute: dict[str, list[list[Key]]] = {}
        self._inside: dict[str, list[list[Key]]] = {}
        self._columns: dict[tuple[str, bool], _Column] = {}

    def find(self, column: str, kind: str) -> Matches | None:
        """Finds the rows whose cell fits each image.

        Images that fit the same rows share one list, so that it need be judged only once.

        * ``path``: the cell, from the table's folder or one of the roots, is the image's file. A
          cell without an image suffix fits the file with any or none.
        * ``name``: the image's absolute path ends like the cell, so ``a/1.png`` fits ``x/a/1.png``
          but neither ``1.png`` nor ``b/1.png``. Where the column has folders and one of its cells
          is the path of an image, the cells start at a known folder: the others then name whole
          paths too. Where no cell fits, the folders that all cells begin with are left out (a tree
          that was moved), and the rest must be the image's whole path below the first root. Where
          none fits then, a cell may start anywhere above the root: it ends like the image's path
          below it, and fits the image with the longest such path.
        * ``stem``: as ``name``, whatever the suffixes and the case.
        * ``name alone``, ``stem alone``: the last component only.
        * ``uid``, ``accession``, ``patient``: the cell is the identifier in the image's header.
        * ``folder``: the cell is a folder that the image lies in, or its number, so ``501`` and
          ``s501`` fit ``p10/s501/1.png``.

        Args:
            column: The column that may hold keys, or two columns ``FOLDER/FILE``, whose cells
                together are a path.
            kind: One of the kinds above.

        Returns:
            Row indices for each image, or None when no image has this kind of key.
        """
        if kind in ID_KINDS:
            return self._match_identifiers(column, kind)
        if kind == FOLDER:
            return self._match_folders(column)
        if kind in ALONE:
            return self._match_last_parts(column, ALONE[kind])
        read = self._read_column(column)
        exact = self._match_paths(read)
        if kind == "path":
            return exact
        list_forms = _list_forms(kind)
        whole = _list_row_forms(read.parts, list_forms)
        if any(exact) and read.has_folders:
            found = _match_equal(self._list_inside(kind), whole)
        else:
            found = _match_ends(self._list_absolute(kind), whole)
            if not any(exact) and not any(found):
                found = self._match_elsewhere(read, kind, whole)
        return [_unite(a, b) for a, b in zip(exact, found, strict=True)]

    def find_by_end(self, column: str, kind: str) -> Matches:
        """Finds the rows that could mean each image: its path ends like the cell.

        Args:
            column: The column of file names.
            kind: ``path``, ``name`` or ``stem``: how suffixes and case count.
        """
        rows = _list_row_forms(self._read_column(column).parts, _list_forms(kind))
        return _match_ends(self._list_absolute(kind), rows)

    @cached_property
    def _ends(self) -> frozenset[Key]:
        """Last components of the images' whole paths, as `_fold_cell` writes them."""
        paths = [form for forms in self._list_absolute("stem") for form in forms]
        return frozenset(path[-n:] for path in paths for n in range(1, DEPTH + 1))

    @cached_property
    def _starts(self) -> frozenset[Key]:
        """The images' paths below the first root, or their ends, in the same form."""
        return frozenset(form[-DEPTH:] for forms in self._list_inside("stem") for form in forms)

    def _read_column(self, column: str, *, alone: bool = False) -> _Column:
        """A column of paths; `alone`: only their last components count."""
        if (column, alone) not in self._columns:
            may_fit = self._may_fit_alone if alone else self._may_fit
            cells = read_keys(self.table, column)
            distinct = set(cells)
            parts = {
                cell: _split_cell(cell)
                for cell in distinct
                if any(may_fit(parts) for parts in _fold_cell(cell))
            }
            rows = [row for row, cell in enumerate(cells) if cell in parts]
            self._columns[column, alone] = _Column(
                {row: cells[row] for row in rows},
                {row: parts[cells[row]] for row in rows},
                distinct,
            )
        return self._columns[column, alone]

    def _may_fit_alone(self, parts: Key) -> bool:
        return parts[-1:] in self._ends

    def _may_fit(self, parts: Key) -> bool:
        """Whether a cell can be the end of an image's path, or end like its path below the root."""
        if parts[-DEPTH:] in self._ends:
            return True
        return any(parts[-n:] in self._starts for n in range(1, min(DEPTH, len(parts)) + 1))

    def _list_absolute(self, kind: str) -> list[list[Key]]:
        """Forms of the images' whole paths."""
        kind = "stem" if kind == "stem" else "name"
        if kind not in self._absolute:
            list_forms = _list_forms(kind)
            paths = (os.path.abspath(image.path) for image in self.images)
            self._absolute[kind] = [list_forms(_split(path)) for path in paths]
        return self._absolute[kind]

    def _list_inside(self, kind: str) -> list[list[Key]]:
        """Forms of the images' paths below the first root."""
        if kind not in self._inside:
            list_forms = _list_forms(kind)
            paths = (_inside(image.path, self.roots) for image in self.images)
            self._inside[kind] = [list_forms(_split(path)) for path in paths]
        return self._inside[kind]

    def _match_identifiers(self, column: str, kind: str) -> Matches | None:
        values = [getattr(image.identity, kind).strip() for image in self.images]
        if not any(values):
            return None
        cells = read_keys(self.table, column)
        return _match_equal(
            [[(value,)] if value else [] for value in values],
            _keep_wanted(cells, {value for value in values if value}),
        )

    def _match_folders(self, column: str) -> Matches:
        names = [
            {
                form
                for part in _split(_inside(image.path, self.roots))[:-1]
                for form in _list_numbers(part)
            }
            for image in self.images
        ]
        cells = [cell.casefold() for cell in read_keys(self.table, column)]
        return _match_equal(
            [[(form,) for form in sorted(forms)] for forms in names],
            _keep_wanted(cells, {form for forms in names for form in forms}),
        )

    def _match_last_parts(self, column: str, kind: str) -> Matches:
        rows = _list_row_forms(self._read_column(column, alone=True).parts, _list_forms(kind))
        return _match_equal(
            [[form[-1:] for form in forms] for forms in self._list_inside(kind)],
            {row: [form[-1:] for form in forms] for row, forms in rows.items()},
        )

    def _match_paths(self, read: _Column) -> Matches:
        """Rows whose cell is the image's file, from one of the folders that cells may start at."""
        folders = (self.table.path.parent, *self.roots)
        bases = list(dict.fromkeys(os.path.abspath(base) for base in folders))
        paths = (normalise_path(os.path.abspath(image.path)) for image in self.images)
        forms = [_list_name_forms((path,)) for path in paths]
        keys = {
            row: [
                _list_name_forms((place,))[-1]
                for text in _decode(cell)
                for place in list_places(text, bases)
            ]
            for row, cell in read.cells.items()
        }
        return _match_equal(forms, keys)

    def _match_elsewhere(self, read: _Column, kind: str, whole: Rows) -> Matches:
        """Rows whose path starts at a folder that is not there: a tree that was moved."""
        list_forms = _list_forms(kind)
        inside = self._list_inside(kind)
        depth = read.count_common_folders()
        rests = {row: [key[depth:] for key in keys] for row, keys in read.parts.items()}
        found = _match_equal(inside, _list_row_forms(rests, list_forms))
        return found if any(found) else _match_moved(inside, self._list_absolute(kind), whole)


class _Column(NamedTuple):
    """A column of file names.

    Attributes:
        cells: The cells whose last components can be an image's, by row.
        parts: Their components, in each way of reading them.
        distinct: All different cells.
    """

    cells: Mapping[int, str]
    parts: Rows
    distinct: AbstractSet[str]

    @property
    def has_folders(self) -> bool:
        """Whether a cell has more than one component."""
        return any(
            ("/" in cell or "\\" in cell or not _is_plain(cell))
            and any(len(parts) > 1 for parts in _split_cell(cell))
            for cell in self.distinct
        )

    def count_common_folders(self) -> int:
        """How many leading folders all paths have in common."""
        common: Key | None = None
        start = ""
        for cell in self.distinct:
            if start and cell.startswith(start) and _is_plain(cell):
                continue
            for parts in _split_cell(cell)[:1]:
                folders = parts[:-1]
                longest = len(folders) if common is None else min(len(common), len(folders))
                same = _count_same(zip(common or folders, folders, strict=False), longest)
                common = folders[:same]
                start = "/".join((*common, ""))
            if common == ():
                break
        return len(common or ())


_ODD = re.compile(r"%|://|(?:^|[/\\])(?:\.{0,2}(?:[/\\]|$))")


def _is_plain(cell: str) -> bool:
    """Whether a cell reads as a path in one way, without ``.``, ``..`` and empty components."""
    return not _ODD.search(cell, 1 if cell[:1] in "/\\" else 0)


def _fold_cell(cell: str) -> list[Key]:
    """Components as `_list_stem_forms` gives them, in each way of reading a cell."""
    if not _is_plain(cell):
        return [form for parts in _split_cell(cell) for form in _list_stem_forms(parts)]
    path = strip_suffix(normalise_slashes(cell).lstrip("/")).casefold()
    return [tuple(path.split("/"))] if path else []


def _keep_wanted(cells: Sequence[str], wanted: AbstractSet[str]) -> dict[int, list[Key]]:
    return {row: [(cell,)] for row, cell in enumerate(cells) if cell and cell in wanted}


def _list_row_forms(paths: Rows, list_forms: Callable[[Key], list[Key]]) -> dict[int, list[Key]]:
    """The form that each spelling of a row's cell has."""
    return {
        row: [form for parts in spellings for form in list_forms(parts)[-1:]]
        for row, spellings in paths.items()
    }


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


def _list_numbers(folder: str) -> list[str]:
    """A folder's name as cells may write it: in full, and its number alone."""
    number = re.fullmatch(r"[^\W\d_]{1,10}[-_ ]?(\d+)", folder)
    return [folder.casefold(), *([number.group(1)] if number else [])]


def _match_moved(
    images: Sequence[Sequence[Key]], absolute: Sequence[Sequence[Key]], rows: Rows
) -> Matches:
    """Rows whose path ends like the image's; each row fits the longest such paths alone.

    Of several rows that fit an image, those with most folders of its absolute path are meant.
    """
    known = {key for forms in images for key in forms}
    longest = {}
    for row, keys in rows.items():
        ends = [key[-n:] for key in keys for n in range(len(key), 0, -1) if key[-n:] in known]
        longest[row] = [key for key in ends if len(key) == max(map(len, ends))]
    found = _match_equal(images, longest)
    return [
        _choose_nearest(forms, fits, rows) if len(fits) > 1 else fits
        for forms, fits in zip(absolute, found, strict=True)
    ]


def _choose_nearest(forms: Sequence[Key], fits: list[int], rows: Rows) -> list[int]:
    shared = {
        row: max((_count_shared(form, key) for form in forms for key in rows[row]), default=0)
        for row in fits
    }
    best = max(shared.values())
    return [row for row in fits if shared[row] == best]


def _count_shared(one: Key, other: Key) -> int:
    """How many last components two paths have in common."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return _count_same(pairs, min(len(one), len(other)))


def _count_same(pairs: Iterable[tuple[str, str]], longest: int) -> int:
    return next((n for n, (a, b) in enumerate(pairs) if a != b), longest)


def _match_ends(images: Sequence[Sequence[Key]], rows: Rows) -> Matches:
    """Rows whose path is the end of the image's path."""
    lengths = sorted({len(key) for keys in rows.values() for key in keys} - {0})
    ends = [[parts[-n:] for parts in forms for n in lengths if n <= len(parts)] for forms in images]
    return _match_equal(ends, rows)


def _match_equal(images: Sequence[Sequence[Key]], rows: Rows) -> Matches:
    """Rows that share a form with the image."""
    of_key: dict[Key, list[int]] = defaultdict(list)
    wanted = {key for forms in images for key in forms}
    for row, keys in rows.items():
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
    stem = strip_suffix(parts[-1])
    bare = (*parts[:-1], "~" + stem)
    return [bare, (*parts[:-1], "=" + parts[-1])] if stem != parts[-1] else [bare]


def _list_stem_forms(parts: Key) -> list[Key]:
    return (
        [tuple(part.casefold() for part in (*parts[:-1], strip_suffix(parts[-1])))] if parts else []
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
