"""Which column of a label file means what: usual names are found, ambiguity is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.errors import IsnetError
from isnet_cli.labels.column_names import (
    FACT_NAMES,
    LEFT_MASKS,
    PATH,
    RIGHT_MASKS,
    ROLE_NAMES,
    STATED,
    list_named,
    list_names,
    plain,
    require_column,
)
from isnet_cli.labels.csv_table import CsvTable
from isnet_cli.labels.label_columns import find_label_columns


@dataclass(frozen=True)
class Roles:
    """Names of the columns that were found; empty where there is none.

    Attributes:
        label: One column, or several for multi-label and one-hot files.
        patient: Column of the patient's identifier.
        source: Column of the hospital or collection.
        view: Columns of the projection, the deciding one first.
        modality: Columns of the modality.
        body_part: Columns of the body part.
        mask: One column of mask files, or two (left, right).
        set: Column of the named set.
        facts: Columns of each coarse fact (sex, age ...), by its name.
        groups: Further columns by which scores may be compared.
        why: Why these are the label columns, in words.
    """

    label: tuple[str, ...] = ()
    patient: str = ""
    source: str = ""
    view: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    set: str = ""
    facts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    groups: tuple[str, ...] = ()
    why: str = ""

    def used(self) -> frozenset[str]:
        """All columns that have a meaning of their own."""
        stated = (*self.view, *self.modality, *self.body_part)
        names = (
            *self.label,
            self.patient,
            self.source,
            *stated,
            *self.mask,
            self.set,
            *self.groups,
        )
        return frozenset(name for name in names if name)


def find_roles(table: CsvTable, labels: Labels, columns: Columns) -> Roles:
    """Finds the columns that `labels` and `columns` ask for, `auto` by their usual names.

    Raises:
        IsnetError: Kind "data", when a named column does not exist, two columns claim one role, or
            there is no label column.
    """
    found = {
        role: _find_column(table, role, getattr(columns, role))
        for role in ROLE_NAMES
        if role not in STATED
    }
    masks: tuple[str, ...] = (found["mask"],) if found["mask"] else ()
    if not masks and columns.mask == "auto":
        masks = _find_mask_pair(table)
    roles = Roles(
        patient=found["patient"],
        source=found["source"],
        view=_find_stated(table, "view", columns.view),
        modality=_find_stated(table, "modality", columns.modality),
        body_part=_find_stated(table, "body_part", columns.body_part),
        mask=masks,
        set=found["set"],
        facts=tuple((name, _find_fact(table, name, columns)) for name in FACT_NAMES),
        groups=tuple(
            require_column(table, name, "data.columns.groups: [{}]") for name in columns.groups
        ),
    )
    label, why = find_label_columns(table, labels, roles.used())
    return replace(roles, label=label, why=why)


def _find_column(table: CsvTable, role: str, setting: str | None) -> str:
    if setting is None or (role in {"patient", "source"} and setting.startswith(PATH)):
        return ""
    if setting != "auto":
        return require_column(table, setting, f"data.columns.{role}: {{}}")
    hits = list_named(table, ROLE_NAMES[role])
    if len(hits) > 1:
        raise IsnetError(
            "data",
            f"{table.path}: columns {list_names(hits)} may all be the {role}, expected one",
            fix=f"data.columns.{role}: {hits[0]}   (or none)",
        )
    return hits[0] if hits else ""


def _find_stated(table: CsvTable, role: str, setting: str | None) -> tuple[str, ...]:
    """All columns that state a role, in the order of its usual names."""
    if setting is None:
        return ()
    if setting != "auto":
        return (require_column(table, setting, f"data.columns.{role}: {{}}"),)
    return tuple(name for word in ROLE_NAMES[role] for name in list_named(table, (word,)))


def _find_fact(table: CsvTable, name: str, columns: Columns) -> tuple[str, ...]:
    """All columns that state a coarse fact, or the one that is configured."""
    setting = getattr(columns, name)
    if setting is None:
        return ()
    if setting != "auto":
        return (require_column(table, setting, f"data.columns.{name}: {{}}"),)
    return tuple(list_named(table, FACT_NAMES[name]))


def _find_mask_pair(table: CsvTable) -> tuple[str, ...]:
    left = [name for name in table.columns if plain(name) in LEFT_MASKS]
    right = [name for name in table.columns if plain(name) in RIGHT_MASKS]
    return (left[0], right[0]) if len(left) == 1 and len(right) == 1 else ()
