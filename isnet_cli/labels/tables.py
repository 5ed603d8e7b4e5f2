"""Labels from a CSV or from one folder per class, as the manifest writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from isnet_cli.config.schema import Columns, Labels, Limits
from isnet_cli.errors import IsnetError
from isnet_cli.labels.columns import Roles, find_roles, list_names
from isnet_cli.labels.csv_table import CsvTable, read_table
from isnet_cli.labels.values import (
    SETS,
    UnknownValueError,
    encode_findings,
    is_finding,
    is_missing,
    parse_finding,
    parse_set,
    parse_view,
)

LIST_SEPARATOR = "|"  # of one cell that names several findings, as in ChestX-ray14
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
    """

    line: int
    label: str
    source: str = ""
    patient: str = ""
    view: str = "unknown"
    masks: tuple[str, ...] = ()
    set: str = ""

    @property
    def meaning(self) -> tuple[object, ...]:
        """Everything but the line; equal for rows that repeat each other."""
        return self.label, self.source, self.patient, self.view, self.masks, self.set


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
    """Reads the CSV of `labels` and finds out what each row means.

    Multi-class: one column of class names, kept as written, or several 0/1 columns with exactly
    one 1 a row. Multi-label: several 0/1 columns, or one column of names joined by ``|``.

    Args:
        labels: The file and how to read it.
        columns: Its optional columns.
        outside: The images belong to a test set of their own: they may all be of one class and need
            not have all configured ones.
        limits: What the file may be; None: the defaults.

    Raises:
        IsnetError: Kind "data"; names file, line, what was found and what was expected.
    """
    if labels.file is None:
        raise ValueError("labels.file is not set")
    table = read_table(Path(labels.file), labels.delimiter, limits)
    roles = find_roles(table, labels, columns)
    texts, classes, warnings = _read_label_texts(table, roles.label, labels, 1 if outside else 2)
    rows = tuple(
        LabelRow(
            line,
            text,
            source=_read_cell(table, row, roles.source),
            patient=_read_cell(table, row, roles.patient),
            view=parse_view(_read_cell(table, row, roles.view)),
            masks=tuple(mask for name in roles.mask if (mask := _read_cell(table, row, name))),
            set=parse_set(_read_cell(table, row, roles.set)),
        )
        for line, row, text in zip(table.lines, table.rows, texts, strict=True)
    )
    return LabelTable(table, roles, rows, classes, warnings)


def read_folder_labels(
    names: Sequence[PurePosixPath], classes: Sequence[str] | None
) -> list[LabelRow] | None:
    """Labels from the layouts ``class/image`` and ``set/class/image``, or None for another layout.

    Without `classes`, the layout counts as one only when every image lies at the same depth, in two
    to twenty folders of two images or more, none of which has a name like ``images`` or ``masks``.
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
    return [LabelRow(0, part[-2], set=parse_set(part[0]) if in_sets else "") for part in parts]


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
    for name in names:
        hits = [part for part in name.parts[:-1] if part in classes]
        first = name.parts[0] if len(name.parts) > 1 else ""
        where = parse_set(first) if parse_set(first) in SETS else ""
        rows.append(LabelRow(0, hits[0] if len(hits) == 1 else "", set=where))
    return rows if any(row.label for row in rows) else None


def _read_cell(table: CsvTable, row: tuple[str, ...], name: str) -> str:
    text = row[table.columns.index(name)] if name else ""
    return "" if is_missing(text) else text


Texts = tuple[list[str], tuple[str, ...], tuple[str, ...]]  # per row, classes, warnings


def _read_label_texts(
    table: CsvTable, columns: tuple[str, ...], labels: Labels, least: int
) -> Texts:
    if labels.task == "multilabel":
        if len(columns) == 1 and not is_finding(table.column(columns[0])):
            return _read_name_lists(table, columns[0], labels, least)
        return _read_findings(table, columns, labels, least)
    if len(columns) > 1:
        return _read_one_hot(table, columns, labels, least)
    return _read_class_names(table, columns[0], labels, least)


def _read_class_names(table: CsvTable, column: str, labels: Labels, least: int) -> Texts:
    cells = ["" if is_missing(cell) else cell for cell in table.column(column)]
    found = Counter(cell for cell in cells if cell)
    classes = order_classes(found, labels, f"{table.path}: column '{column}'", least)
    left_out = Counter({name: n for name, n in found.items() if name not in classes})
    warnings = list(_warn_of_spellings(table, column, found))
    if left_out:
        text = ", ".join(f"'{name}' ({n})" for name, n in left_out.most_common(5))
        warnings.append(
            f"{table.path}: {left_out.total()} rows have a class outside data.labels.classes:"
            f" {text}; their images count as unlabelled"
        )
    return [cell if cell in classes else "" for cell in cells], classes, tuple(warnings)


def _warn_of_spellings(table: CsvTable, column: str, found: Counter[str]) -> list[str]:
    forms: dict[str, list[str]] = {}
    for name in sorted(found):
        forms.setdefault(" ".join(name.lower().split()), []).append(name)
    return [
        f"{table.path}: column '{column}' spells one class in several ways: {list_names(names)};"
        " they count as different classes"
        for names in forms.values()
        if len(names) > 1
    ]


def _read_one_hot(table: CsvTable, columns: tuple[str, ...], labels: Labels, least: int) -> Texts:
    texts = []
    for line, values in _parse_finding_rows(table, columns, labels):
        positive = [name for name, value in values.items() if value == 1.0]
        if len(positive) > 1 or (not positive and None not in values.values()):
            raise IsnetError(
                "data",
                f"{table.path}:{line}: {len(positive)} of the columns {list_names(columns)}"
                " say yes, expected exactly one, since data.labels.task is multiclass",
                fix="data.labels.task: multilabel   or one column of class names",
            )
        texts.append(positive[0] if positive else "")
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
    texts = [encode_findings(values) for _, values in _parse_finding_rows(table, chosen, labels)]
    return texts, chosen, ()


def _parse_finding_rows(
    table: CsvTable, columns: tuple[str, ...], labels: Labels
) -> list[tuple[int, Mapping[str, float | None]]]:
    places = [(name, table.columns.index(name)) for name in columns]
    rows: list[tuple[int, Mapping[str, float | None]]] = []
    for line, row in zip(table.lines, table.rows, strict=True):
        values = {}
        for name, place in places:
            try:
                values[name] = parse_finding(row[place], labels.uncertain)
            except UnknownValueError as error:
                raise IsnetError(
                    "data",
                    f"{table.path}:{line}: '{row[place]}' in column '{name}', expected 1, 0,"
                    " -1 (uncertain), yes, no, true, false, pos, neg, or nothing",
                    fix="mend the cell, or set data.labels.columns or data.labels.task",
                ) from error
        rows.append((line, values))
    return rows


def _read_name_lists(table: CsvTable, column: str, labels: Labels, least: int) -> Texts:
    lists = [
        [name.strip() for name in cell.split(LIST_SEPARATOR) if not is_missing(name.strip())]
        for cell in table.column(column)
    ]
    found = Counter(name for names in lists for name in names)
    classes = order_classes(found, labels, f"{table.path}: column '{column}'", least)
    _check_names(table, classes)
    texts = [
        encode_findings({name: float(name in names) for name in classes}) if names else ""
        for names in lists
    ]
    return texts, classes, tuple(_warn_of_spellings(table, column, found))


def _check_names(table: CsvTable, names: tuple[str, ...]) -> None:
    bad = [name for name in names if set(name) & {";", "="}]
    if bad:
        raise IsnetError(
            "data",
            f"{table.path}: label name {list_names(bad)} contains ';' or '=', expected neither",
            fix="rename it in the label file",
        )
