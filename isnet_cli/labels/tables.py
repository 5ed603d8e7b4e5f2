"""Labels from a CSV or from one folder per class, as the manifest writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from isnet_cli.config.schema import Columns, Labels, Limits
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
    """

    line: int
    label: str
    source: str = ""
    patient: str = ""
    view: str = "unknown"
    masks: tuple[str, ...] = ()
    set: str = ""
    fault: tuple[str, str] | None = None

    @property
    def meaning(self) -> tuple[object, ...]:
        """Everything but the line; equal for rows that repeat each other."""
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
    """Reads the CSV of `labels` and finds out what each row means.

    Multi-class: one column of class names, kept as written, or several 0/1 columns with exactly
    one 1 a row. Multi-label: several 0/1 columns, or one column of lists of names. Names that
    differ in nothing but case, blanks or the form of letters are one class.

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
    statements = _read_statements(table, roles)
    rows = tuple(
        LabelRow(
            line,
            text,
            source=_read_cell(table, row, roles.source),
            patient=_read_cell(table, row, roles.patient),
            view=stated.view,
            masks=tuple(mask for name in roles.mask if (mask := _read_cell(table, row, name))),
            set=parse_set(_read_cell(table, row, roles.set)),
            fault=stated.fault,
        )
        for line, row, text, stated in zip(table.lines, table.rows, texts, statements, strict=True)
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
    places = [[table.columns.index(name) for name in names] for names in columns]
    known: dict[tuple[tuple[str, ...], ...], Statement] = {}
    found = []
    for row in table.rows:
        cells = tuple(tuple(row[place] for place in group) for group in places)
        if cells not in known:
            known[cells] = read_statement(*cells)
        found.append(known[cells])
    return found


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


def _read_cell(table: CsvTable, row: tuple[str, ...], name: str) -> str:
    text = row[table.columns.index(name)] if name else ""
    return "" if is_missing(text) else text


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
    names = [next(iter(split_names(cell) or ()), "") for cell in cells]
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
    lists = [split_names(cell, separator) for cell in cells]
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
    cells = [(name, _read_column(table, name)) for name in columns]
    rows: list[tuple[int, Mapping[str, float | None]]] = []
    for place, line in enumerate(table.lines):
        values = {}
        for name, column in cells:
            try:
                values[name] = parse_finding(column[place], labels.uncertain)
            except UnknownValueError as error:
                raise IsnetError(
                    "data",
                    f"{table.path}:{line}: '{column[place]}' in column '{name}', expected 1, 0,"
                    " -1 (uncertain), yes, no, true, false, pos, neg, or nothing",
                    fix="mend the cell, or set data.labels.columns or data.labels.task",
                ) from error
        rows.append((line, values))
    return rows


def _read_name_lists(table: CsvTable, column: str, labels: Labels, least: int) -> Texts:
    cells = table.column(column)
    separator = find_separator(cells)
    if not separator:  # these never belong to a name
        separator = next((sign for sign in "|;" if any(sign in cell for cell in cells)), "")
    lists = [split_names(cell, separator) for cell in cells]
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
    texts = [
        ""
        if names is None
        else encode_findings({c: float(c in {spelled[name] for name in names}) for c in classes})
        for names in lists
    ]
    return texts, classes, tuple(warnings)


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
