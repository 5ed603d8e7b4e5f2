"""Labels from a CSV or from one folder per class, as the manifest writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path, PurePosixPath
from typing import TypeVar

from isnet_cli.config.schema import Columns, Labels, Limits
from isnet_cli.core.records.facts import (
    UNKNOWN,
    Facts,
    read_decade,
    read_projection,
    read_sex,
    shorten,
)
from isnet_cli.errors import IsnetError
from isnet_cli.labels.column_names import list_names
from isnet_cli.labels.columns import Roles, find_roles
from isnet_cli.labels.csv_table import CsvTable, read_table
from isnet_cli.labels.label_columns import judge_cells
from isnet_cli.labels.lists import (
    find_separator,
    fold_name,
    merge_spellings,
    split_names,
)
from isnet_cli.labels.path_patterns import find_in_path, propose_patient_pattern
from isnet_cli.labels.statements import Statement, read_statement
from isnet_cli.labels.values import (
    SETS,
    UnknownValueError,
    encode_findings,
    is_finding,
    is_missing,
    parse_finding,
    parse_set,
    read_run_lengths,
)

_Cell = TypeVar("_Cell", bound=Hashable)
_Value = TypeVar("_Value")
MAX_CLASS_FOLDERS = 20
PLAIN_FOLDERS = {  # folders of these names hold images or masks, not a class
    *("image", "images", "img", "imgs", "film", "films", "xray", "xrays", "png", "jpg", "jpeg"),
    *("dicom", "dicoms", "dcm", "data", "mask", "masks", "lungs", "label", "labels"),
    *("leftmask", "rightmask", "manualmask"),
}


@dataclass(frozen=True)
class LabelRow:
    """What one row of a label file states about an image.

    Attributes:
        line: Line in the file; 0 when the label comes from a folder's name.
        label: As `Row.label`; empty when missing.
        source: Hospital or collection, as written.
        patient: Identifier, as written; lives in memory only.
        view: ``frontal``, ``lateral`` or ``unknown``.
        masks: Mask files as written: none, one, or left and right.
        set: Name of the set, or empty.
        fault: (reason, sentence) when modality, view or body part rule the image out, else None.
        facts: Sex, decade of age and the like.
        groups: Cells of ``data.columns.groups``, in their order.
    """

    line: int
    label: str
    source: str = ""
    patient: str = ""
    view: str = "unknown"
    masks: tuple[str, ...] = ()
    set: str = ""
    fault: tuple[str, str] | None = None
    facts: Facts = UNKNOWN
    groups: tuple[str, ...] = ()

    @property
    def meaning(self) -> tuple[object, ...]:
        """Everything but line and facts; equal for rows that repeat each other."""
        stated = self.label, self.source, self.patient, self.view, self.masks, self.set
        return *stated, self.fault


@dataclass(frozen=True)
class LabelTable:
    """A label file, understood.

    Attributes:
        csv: The cells.
        roles: Which column means what.
        rows: One per row of the table.
        classes: Class names in the order of the network's outputs.
        warnings: What the user should know, one sentence each.
    """

    csv: CsvTable
    roles: Roles
    rows: tuple[LabelRow, ...]
    classes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def read_labels(
    labels: Labels, columns: Columns, *, outside: bool = False, limits: Limits | None = None
) -> LabelTable:
    """Reads the CSV of `labels` and finds out what each row means, as `interpret_table` does.

    Args:
        labels: The file and how to read it.
        columns: Its optional columns.
        outside: As in `interpret_table`.
        limits: What the file may be; None: the defaults.

    Raises:
        IsnetError: Kind "data"; names file, line, what was found and what was expected.
    """
    if labels.file is None:
        raise ValueError("labels.file is not set")
    table = read_table(Path(labels.file), labels.delimiter, limits)
    return interpret_table(table, labels, columns, outside=outside)


def interpret_table(
    table: CsvTable, labels: Labels, columns: Columns, *, outside: bool = False
) -> LabelTable:
    """Finds out what each row of a label file means.

    Multi-class: one column of class names, kept as written, or several 0/1 columns with exactly
    one 1 a row. Multi-label: several 0/1 columns, or one column of lists of names. Names that
    differ in nothing but case, blanks or the form of letters are one class.

    Args:
        table: The file.
        labels: How to read its labels.
        columns: Its optional columns.
        outside: The images belong to a test set of their own: they may all be of one class and need
            not have all configured ones.

    Raises:
        IsnetError: Kind "data"; names file, line, what was found and what was expected.
    """
    roles = find_roles(table, labels, columns)
    texts, classes, warnings = _read_label_texts(table, roles.label, labels, 1 if outside else 2)
    statements = _read_statements(table, roles)
    masks = zip(*(_read_cells(table, name) for name in roles.mask), strict=True)
    rows = tuple(
        map(
            LabelRow,
            table.lines,
            texts,
            _read_cells(table, roles.source),
            _read_cells(table, roles.patient),
            [stated.view for stated in statements],
            [tuple(filter(None, names)) for names in masks] if roles.mask else repeat(()),
            _map_cells(_read_cells(table, roles.set), parse_set),
            [stated.fault for stated in statements],
            _read_facts(table, roles),
            _read_groups(table, roles),
        )
    )
    odd = Counter(stated.odd for stated in statements if stated.odd)
    if odd:
        warnings = (
            *warnings,
            f"{table.path}: {odd.total()} rows state a modality that is not known"
            f" ({list_names(sorted(odd), 3)}); their images are kept",
        )
    return LabelTable(table, roles, rows, classes, (*table.notes, *warnings))


def _read_statements(table: CsvTable, roles: Roles) -> list[Statement]:
    columns = [roles.view, roles.modality, roles.body_part]
    if not any(columns):
        return [Statement()] * len(table.rows)
    groups = [
        zip(*map(table.column, names), strict=True) if names else repeat(()) for names in columns
    ]
    return _map_cells(list(zip(*groups, strict=False)), lambda cells: read_statement(*cells))


_FACT_READERS: Mapping[str, Callable[[str], str]] = {
    "sex": read_sex, "age": read_decade, "manufacturer": shorten, "model": shorten,
    "projection": read_projection,
}  # fmt: skip


def _read_facts(table: CsvTable, roles: Roles) -> Iterable[Facts]:
    """Coarse facts of each row: of several columns, the first that says something."""
    columns = {**dict(roles.facts), "projection": roles.view}
    if not any(columns.values()):
        return repeat(UNKNOWN)
    found: dict[str, list[str]] = {}
    for name, read in _FACT_READERS.items():
        read_columns = [_map_cells(_read_cells(table, c), read) for c in columns[name]]
        cells = zip(*read_columns, strict=True) if read_columns else repeat((), len(table.rows))
        found[name] = [next(filter(None, row), "") for row in cells]
    return map(Facts, *(found[name] for name in Facts._fields))


def _read_groups(table: CsvTable, roles: Roles) -> Iterable[tuple[str, ...]]:
    """Cells of the further groups of each row."""
    if not roles.groups:
        return repeat(())
    cells = [_map_cells(_read_cells(table, name), shorten) for name in roles.groups]
    return zip(*cells, strict=True)


def read_folder_labels(
    names: Sequence[PurePosixPath], classes: Sequence[str] | None
) -> list[LabelRow] | None:
    """Labels from the layouts ``class/image`` and ``set/class/image``, or None for another layout.

    Without `classes`, the layout counts as one only when every image lies at the same depth, in two
    to twenty folders of two images or more, none of which has a name like ``images`` or ``masks``,
    and which are not called like numbered patients.
    With `classes`, the one folder of an image's path that is named like a class is its label.

    Args:
        names: Paths of the images relative to the images folder.
        classes: The configured classes, or None.
    """
    if classes is not None:
        return _read_named_folders(names, classes)
    parts = [name.parts for name in names]
    depths = {len(part) for part in parts}
    in_sets = all(parse_set(part[0]) in SETS for part in parts)
    if depths != ({3} if in_sets else {2}):
        return None
    folders = Counter(part[-2] for part in parts)
    few = 2 <= len(folders) <= MAX_CLASS_FOLDERS and min(folders.values()) >= 2
    if not few or any(folder.lower() in PLAIN_FOLDERS for folder in folders):
        return None
    if _are_patients(names):
        return None
    spelled = merge_spellings(folders)
    return [
        LabelRow(0, spelled[part[-2]], set=parse_set(part[0]) if in_sets else "") for part in parts
    ]


def _are_patients(names: Sequence[PurePosixPath]) -> bool:
    """Whether the folders of the images are called like numbered patients."""
    paths = [name.as_posix() for name in names]
    setting = propose_patient_pattern(paths)
    return bool(setting) and all(
        find_in_path(setting, "patient", path) == name.parts[-2]
        for path, name in zip(paths, names, strict=True)
    )


def order_classes(found: Counter[str], labels: Labels, where: str, least: int) -> tuple[str, ...]:
    """The classes: as configured, else sorted as found.

    Args:
        found: Number of images or rows of each class.
        labels: The configured choice and order.
        where: For the message: file and column.
        least: How many classes must occur; with 2, each configured class must.

    Raises:
        IsnetError: Kind "data", when classes are lacking.
    """
    if labels.classes is not None:
        absent = [name for name in labels.classes if name not in found]
        if len(absent) > (0 if least > 1 else len(labels.classes) - 1):
            raise IsnetError(
                "data",
                f"{where}: no image of class {list_names(absent)},"
                f" found {list_names(sorted(found))}",
                fix="data.labels.classes: names as they are written in the labels",
            )
        return tuple(labels.classes)
    if len(found) < (least if labels.task == "multiclass" else 1):
        only = f"one class, {list_names(list(found))}" if found else "no label in any row"
        raise IsnetError(
            "data",
            f"{where}: {only},"
            f" expected {'two classes or more' if least > 1 else 'at least one label'}",
            fix="name the label column: data.labels.columns: [NAME]",
        )
    return tuple(sorted(found))


def _read_named_folders(
    names: Sequence[PurePosixPath], classes: Sequence[str]
) -> list[LabelRow] | None:
    rows = []
    spelled = merge_spellings({part: 1 for name in names for part in name.parts[:-1]}, classes)
    for name in names:
        folders = (spelled[part] for part in name.parts[:-1])
        hits = [part for part in folders if part in classes]
        first = name.parts[0] if len(name.parts) > 1 else ""
        where = parse_set(first) if parse_set(first) in SETS else ""
        rows.append(LabelRow(0, hits[0] if len(hits) == 1 else "", set=where))
    return rows if any(row.label for row in rows) else None


def _read_cells(table: CsvTable, name: str) -> list[str]:
    """A column with empty cells for 'not available'; no name: a column of these."""
    if not name:
        return [""] * len(table.rows)
    return _map_cells(table.column(name), lambda cell: "" if is_missing(cell) else cell)


def _map_cells(cells: Sequence[_Cell], function: Callable[[_Cell], _Value]) -> list[_Value]:
    """What a function makes of each cell; equal cells, of which there are many, are read once."""
    known = {cell: function(cell) for cell in dict.fromkeys(cells)}
    return [known[cell] for cell in cells]


Texts = tuple[list[str], tuple[str, ...], tuple[str, ...]]  # per row, classes, warnings


def _read_label_texts(
    table: CsvTable, columns: tuple[str, ...], labels: Labels, least: int
) -> Texts:
    if labels.task == "multilabel":
        if len(columns) == 1 and not is_finding(_read_column(table, columns[0])):
            return _read_name_lists(table, columns[0], labels, least)
        return _read_findings(table, columns, labels, least)
    if len(columns) > 1:
        return _read_one_hot(table, columns, labels, least)
    return _read_class_names(table, columns[0], labels, least)


def _read_class_names(table: CsvTable, column: str, labels: Labels, least: int) -> Texts:
    cells = _read_column(table, column)
    several = _list_several(cells)
    if several and not {cells[place] for place in several} <= set(labels.classes or ()):
        _refuse_lists(table, column, cells, several)
    names = _map_cells(cells, lambda cell: next(iter(split_names(cell) or ()), ""))
    spelled, warnings = _merge_spellings(table, column, Counter(filter(None, names)), labels)
    names = [spelled[name] if name else "" for name in names]
    found = Counter(filter(None, names))
    classes = order_classes(found, labels, f"{table.path}: column '{column}'", least)
    left_out = Counter({name: n for name, n in found.items() if name not in classes})
    if labels.columns is not None and (why := judge_cells(cells)):
        warnings.append(f"{table.path}: column '{column}' {why}; each value counts as a class")
    if left_out:
        text = ", ".join(f"'{name}' ({n})" for name, n in left_out.most_common(5))
        warnings.append(
            f"{table.path}: {left_out.total()} rows have a class outside data.labels.classes:"
            f" {text}; their images count as unlabelled"
        )
    return [name if name in classes else "" for name in names], classes, tuple(warnings)


def _read_column(table: CsvTable, column: str) -> list[str]:
    """The cells of a label column; run-length masks as yes and no."""
    cells = table.column(column)
    return read_run_lengths(cells) or cells


def _list_several(cells: Sequence[str]) -> list[int]:
    """Places of the cells that name several findings, or none in brackets."""
    separator = find_separator(cells)
    lists = _map_cells(cells, lambda cell: split_names(cell, separator))
    return [place for place, names in enumerate(lists) if names is not None and len(names) != 1]


def _refuse_lists(table: CsvTable, column: str, cells: Sequence[str], several: list[int]) -> None:
    raise IsnetError(
        "data",
        f"{table.path}:{table.lines[several[0]]}: column '{column}' names several findings in"
        f" {len(several)} of {len(cells)} rows, such as '{cells[several[0]]}', expected one class"
        " a row, since data.labels.task is multiclass",
        fix="data.labels.task: multilabel",
    )


def _merge_spellings(
    table: CsvTable, column: str, found: Counter[str], labels: Labels
) -> tuple[dict[str, str], list[str]]:
    """The spelling of each class, and a warning where there were several."""
    spelled = merge_spellings(found, labels.classes or ())
    forms: dict[str, list[str]] = {}
    for name in sorted(found):
        forms.setdefault(spelled[name], []).append(name)
    return spelled, [
        f"{table.path}: column '{column}' spells one class in several ways:"
        f" {', '.join(f'{name!r} ({found[name]})' for name in names)}; they count as '{chosen}'"
        for chosen, names in forms.items()
        if len(names) > 1
    ]


def _read_one_hot(table: CsvTable, columns: tuple[str, ...], labels: Labels, least: int) -> Texts:
    def choose(values: tuple[float | None, ...]) -> str | None:
        """The one class of a row, nothing when it is unknown; None: it has none or several."""
        positive = [name for name, value in zip(columns, values, strict=True) if value == 1.0]
        if len(positive) == 1:
            return positive[0]
        return "" if not positive and None in values else None

    rows = list(zip(*_parse_findings(table, columns, labels), strict=True))
    chosen = _map_cells(rows, choose)
    if None in chosen:
        place = chosen.index(None)
        raise IsnetError(
            "data",
            f"{table.path}:{table.lines[place]}: {rows[place].count(1.0)} of the columns"
            f" {list_names(columns)} say yes, expected exactly one, since data.labels.task is"
            " multiclass",
            fix="data.labels.task: multilabel   or one column of class names",
        )
    texts = [text or "" for text in chosen]
    classes = order_classes(Counter(t for t in texts if t), labels, str(table.path), least)
    ordered = classes if labels.classes is not None else columns
    classes = tuple(name for name in ordered if name in classes)
    return [text if text in classes else "" for text in texts], classes, ()


def _read_findings(table: CsvTable, columns: tuple[str, ...], labels: Labels, least: int) -> Texts:
    chosen = columns
    if labels.classes is not None:
        order_classes(Counter(columns), labels, f"{table.path}: label columns", least)
        chosen = tuple(name for name in labels.classes if name in columns)
    _check_names(table, chosen)
    rows = list(zip(*_parse_findings(table, chosen, labels), strict=True))
    texts = _map_cells(rows, lambda row: encode_findings(dict(zip(chosen, row, strict=True))))
    return texts, chosen, ()


def _parse_findings(
    table: CsvTable, columns: tuple[str, ...], labels: Labels
) -> list[list[float | None]]:
    """The values of each column."""
    found = []
    for name in columns:
        cells = _read_column(table, name)
        try:
            found.append(_map_cells(cells, lambda cell: parse_finding(cell, labels.uncertain)))
        except UnknownValueError as error:  # of the first such cell
            place = cells.index(str(error))
            raise IsnetError(
                "data",
                f"{table.path}:{table.lines[place]}: '{cells[place]}' in column '{name}', expected"
                " 1, 0, -1 (uncertain), yes, no, true, false, pos, neg, or nothing",
                fix="mend the cell, or set data.labels.columns or data.labels.task",
            ) from error
    return found


def _read_name_lists(table: CsvTable, column: str, labels: Labels, least: int) -> Texts:
    cells = table.column(column)
    separator = find_separator(cells)
    if not separator:  # these never belong to a name
        separator = next((sign for sign in "|;" if any(sign in cell for cell in cells)), "")
    lists = _map_cells(cells, lambda cell: split_names(cell, separator))
    count = Counter(name for names in lists for name in names or ())
    spelled, warnings = _merge_spellings(table, column, count, labels)
    found = Counter(spelled[name] for names in lists for name in names or ())
    classes = order_classes(found, labels, f"{table.path}: column '{column}'", least)
    _check_names(table, classes)
    if least > 1 and len(found) == 1 and all(names is None or names for names in lists):
        raise IsnetError(
            "data",
            f"{table.path}: column '{column}': one finding, {list_names(list(found))}, in each row,"
            " expected rows with and without it",
            fix="name the label column: data.labels.columns: [NAME]",
        )

    def write(cell: str) -> str:
        names = split_names(cell, separator)
        here = {spelled[name] for name in names or ()}
        return "" if names is None else encode_findings({c: float(c in here) for c in classes})

    return _map_cells(cells, write), classes, tuple(warnings)


def _check_names(table: CsvTable, names: tuple[str, ...]) -> None:
    bad = [name for name in names if set(name) & {";", "="}]
    if bad:
        raise IsnetError(
            "data",
            f"{table.path}: label name {list_names(bad)} contains ';' or '=', expected neither",
            fix="rename it in the label file",
        )
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(fold_name(name), name)
        if other != name:
            raise IsnetError(
                "data",
                f"{table.path}: the labels '{other}' and '{name}' differ in nothing but case or"
                " blanks, expected one of them",
                fix="data.labels.columns: [...]   without one of them, or rename it",
            )
