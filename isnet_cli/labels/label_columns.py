"""Which columns are the labels: by their names, and by a look at their cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from isnet_cli.config.schema import Labels
from isnet_cli.errors import IsnetError
from isnet_cli.labels.column_names import (
    ACCESSION_NAMES,
    FILE_NAMES,
    FOLDER_NAMES,
    INDEX_NAMES,
    NOT_LABELS,
    UID_NAMES,
    is_named,
    list_names,
    plain,
    require_column,
)
from isnet_cli.labels.csv_table import CsvTable
from isnet_cli.labels.lists import find_separator, fold_name, has_lists, split_names
from isnet_cli.labels.values import is_finding, is_missing, read_run_lengths

LABEL_NAMES = (  # tiers: a column of an earlier tier wins
    ("label", "labels"),
    ("class", "classes", "classname", "target", "targets"),
    (
        *("diagnosis", "diagnoses", "disease", "diseases", "finding", "findings"),
        *("findinglabels", "findinglabel", "category", "outcome", "pathology", "pathologies"),
        *("imagelabel", "imagelabels", "classlabel", "labelname", "groundtruth", "truelabel"),
        *("diagnose", "befund", "klasse", "diagnostico", "diagnostic", "hallazgos", "etiqueta"),
        *("etiquetas", "clase", "problem", "problems", "abnormality", "abnormalities"),
    ),
    ("y", "gt", "encodedpixels", "haspneumo"),
)
JUDGED = 8  # rows from which on cells can tell that a column holds no classes
MANY = 20  # distinct whole numbers of a weakly named column that are no classes any more
LONG = 60  # characters of a typical cell of free text
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_FRACTION = re.compile(r"[+-]?\d*[.,]\d*[1-9]\d*([eE][+-]?\d+)?")


class LabelColumns(NamedTuple):
    """The label columns that were chosen.

    Attributes:
        names: One column, or several of one finding each.
        why: What spoke for them, in words.
    """

    names: tuple[str, ...]
    why: str


def find_label_columns(table: CsvTable, labels: Labels, taken: frozenset[str]) -> LabelColumns:
    """Finds the label columns that `labels` asks for, `auto` by usual names and plausible cells.

    Args:
        table: The label file.
        labels: Columns, task and classes as configured.
        taken: Columns that have another meaning.

    Raises:
        IsnetError: Kind "data": a named column does not exist, several are as good, or there is
            none.
    """
    if labels.columns is not None:
        if not labels.columns:
            raise IsnetError(
                "data",
                f"{table.path}: data.labels.columns is an empty list, expected column names",
                fix="name the label columns, or leave data.labels.columns out",
            )
        for name in labels.columns:
            require_column(table, name, "data.labels.columns: [{}]")
        return LabelColumns(tuple(labels.columns), "as configured")
    refused = []
    for place, tier in enumerate(LABEL_NAMES):
        hits = [name for name in table.columns if is_named(name, tier) and name not in taken]
        judged = {name: judge_cells(table.column(name)) for name in hits}
        if place == len(LABEL_NAMES) - 1:
            judged |= {name: why or _judge_weak(table.column(name)) for name, why in judged.items()}
        refused += [f"'{name}' {why}" for name, why in judged.items() if why]
        good = [name for name, why in judged.items() if not why]
        if len(good) > 1:
            raise IsnetError(
                "data",
                f"{table.path}: columns {list_names(good)} may all be the label, expected one",
                fix="   or ".join(f"data.labels.columns: [{name}]" for name in good[:3]),
            )
        if good:
            return LabelColumns((good[0],), f"by its name; {describe_cells(table.column(good[0]))}")
    found = _find_findings(table, labels, taken)
    if labels.task == "multilabel" and found:
        odd = _list_odd(table, [name for name in _list_free(table, taken) if name not in found])
        why = f"{len(found)} columns of yes and no" if len(found) > 1 else "a column of yes and no"
        return LabelColumns(found, "; not ".join([why, *odd[:3]]))
    what = f"no label column found among {list_names(table.columns)}"
    if refused:
        what = f"no column can be the label: {'; '.join(refused)}"
    raise IsnetError(
        "data",
        f"{table.path}: {what}, expected class names in a column called label, class, diagnosis or"
        " finding",
        fix=_propose(table, labels, taken, found),
    )


def judge_cells(cells: Iterable[str]) -> str:
    """Why a column holds no classes, as the rest of a sentence; empty when it may."""
    filled = _count_filled(cells)
    if not filled:
        return "is empty"
    if read_run_lengths(filled) is not None:
        return ""
    numbers = {cell: n for cell, n in filled.items() if _NUMBER.fullmatch(cell)}
    fraction = next((cell for cell in numbers if _FRACTION.fullmatch(cell)), None)
    if fraction is not None and sum(numbers.values()) * 2 > filled.total():
        return f"holds numbers with fractions such as {fraction}: measurements, no classes"
    return _judge_names(filled) if filled.total() >= JUDGED else ""


def _count_filled(cells: Iterable[str]) -> Counter[str]:
    """How often each cell occurs, without those for 'not available'.

    Tables are long and their cells repeat, so that cells are judged once each.
    """
    return Counter({cell: n for cell, n in Counter(cells).items() if not is_missing(cell)})


def _judge_names(cells: Counter[str]) -> str:
    separator = find_separator(cells)
    names: Counter[str] = Counter()
    for cell, n in cells.items():
        for name in split_names(cell, separator) or ():
            names[name] += n
    count = names.total()
    if len({fold_name(name) for name in names}) > 0.9 * count > 0:
        return "has another value in nearly every row, as identifiers and reports do"
    if sum(n for name, n in names.items() if len(name) > LONG) * 2 > count:
        return "holds long texts, as reports do"
    return ""


def describe_cells(cells: Sequence[str]) -> str:
    """What the cells of a label column are, in words."""
    filled = _count_filled(cells)
    if read_run_lengths(filled) is not None:
        return "its cells are run-length masks, so yes where there is one"
    separator = find_separator(filled)
    several = sum(n for x, n in filled.items() if len(split_names(x, separator) or ()) != 1)
    if several:
        return f"{several} of {filled.total()} cells name several findings"
    return f"{len(filled)} different values in {filled.total()} cells"


def _judge_weak(cells: Sequence[str]) -> str:
    """Whole numbers of many values under a weak name are places or counts."""
    filled = _count_filled(cells)
    numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in filled)
    if numbers > MANY and read_run_lengths(filled) is None:
        return f"holds {numbers} different numbers"
    return ""


def _find_findings(table: CsvTable, labels: Labels, taken: frozenset[str]) -> tuple[str, ...]:
    """Columns of 0/1 values, or those that `labels.classes` names."""
    if labels.classes is not None and labels.task == "multilabel":
        found = tuple(name for name in labels.classes if name in table.columns)
        return found or (require_column(table, labels.classes[0], "data.labels.classes: [{}]"),)
    return tuple(name for name in _list_free(table, taken) if is_finding(table.column(name)))


def _list_odd(table: CsvTable, names: Sequence[str]) -> list[str]:
    """Columns that would be findings but for a few cells, each with such a cell."""
    found = []
    for name in names:
        cells = _count_filled(table.column(name))
        odd = [cell for cell in cells if not is_finding([cell, "1"])]
        if 0 < sum(cells[cell] for cell in odd) * 5 < cells.total():
            found.append(f"'{name}', which also holds '{odd[0][:20]}'")
    return found


def _list_free(table: CsvTable, taken: frozenset[str]) -> list[str]:
    """Columns that by their names may be labels."""
    keys = {*NOT_LABELS, *FILE_NAMES, *FOLDER_NAMES, *UID_NAMES, *ACCESSION_NAMES}
    return [
        name
        for name in table.columns
        if name not in taken
        and not is_named(name, tuple(keys))
        and not INDEX_NAMES.fullmatch(plain(name))
    ]


def _propose(
    table: CsvTable, labels: Labels, taken: frozenset[str], findings: Sequence[str]
) -> str:
    """What to type: only what was tried on the cells."""
    classes = []
    for name in _list_free(table, taken):
        cells = _count_filled(table.column(name))
        if len(cells) > 10 * MANY:
            continue
        kinds = {fold_name(cell) for cell in cells}
        recurring = 2 <= len(kinds) <= min(MANY, cells.total() // 2)
        words = recurring and not _NUMBER.fullmatch(next(iter(cells)))
        words = words and not judge_cells(cells.elements())
        if plain(name) and words and (labels.task == "multilabel" or not has_lists(tuple(cells))):
            classes.append(name)
    choices = [f"data.labels.columns: [{name}]" for name in classes[:3]]
    if len(findings) > 1 and labels.task == "multiclass":
        choices.append(f"data.labels.task: multilabel   for the findings {list_names(findings, 4)}")
    return "   or ".join(choices) or (
        "data.labels.columns: [NAME]   (several names for data.labels.task: multilabel)"
    )
