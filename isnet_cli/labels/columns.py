"""Which column of a label file means what: usual names are found, ambiguity is refused."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.errors import IsnetError
from isnet_cli.labels.csv_table import CsvTable
from isnet_cli.labels.values import is_finding

# Names are compared in lower case without anything but letters and digits.
LABEL_NAMES = (  # tiers: a column of an earlier tier wins
    ("label", "labels"),
    ("class", "classes", "classname", "target", "targets", "y"),
    (
        *("diagnosis", "diagnoses", "disease", "diseases", "finding", "findings"),
        *("findinglabels", "category", "outcome", "pathology"),
    ),
)
ROLE_NAMES: dict[str, tuple[str, ...]] = {
    "patient": (
        *("patient", "patientid", "patientidentifier", "patientkey", "patientnumber"),
        *("subject", "subjectid", "pid", "mrn"),
    ),
    "source": (
        *("source", "hospital", "site", "dataset", "institution", "center", "centre"),
        *("origin", "collection", "cohort"),
    ),
    "view": ("view", "viewposition", "projection", "frontallateral"),
    "mask": ("mask", "maskfile", "maskpath", "lungmask", "lungmaskfile", "lungmaskpath"),
    "set": ("set", "split", "subset", "partition"),
}
LEFT_MASKS = ("leftmask", "maskleft", "leftlungmask", "lungmaskleft")
RIGHT_MASKS = ("rightmask", "maskright", "rightlungmask", "lungmaskright")
FILE_NAMES = (
    *("file", "filename", "filepath", "path", "relativepath", "image", "images", "imagefile"),
    *("imagepath", "imagename", "imageindex", "imageid", "img", "imgpath", "imgname", "dicom"),
    *("dicompath", "dicomfile", "dicomid", "film", "xray", "key", "name", "stem", "id"),
)
UID_NAMES = ("sopinstanceuid", "sopuid", "instanceuid", "imageuid", "uid", "imageid", "dicomid")
ACCESSION_NAMES = ("accession", "accessionnumber", "accessionno", "accno", "studyid")
NOT_LABELS = (  # numbers about the patient or the file, never a finding
    *("age", "patientage", "sex", "gender", "patientsex", "patientgender", "followup", "height"),
    *("width", "bits", "frame", "index", "row", "no", "nr", "number", "fold", "appa"),
)
INDEX_NAMES = re.compile(r"column\d+|unnamed\d*|index|row|no|nr|number")


@dataclass(frozen=True)
class Roles:
    """Names of the columns that were found; empty where there is none.

    Attributes:
        label: One column, or several for multi-label and one-hot files.
        patient: Column of the patient's identifier.
        source: Column of the hospital or collection.
        view: Column of the projection.
        mask: One column of mask files, or two (left, right).
        set: Column of the named set.
    """

    label: tuple[str, ...] = ()
    patient: str = ""
    source: str = ""
    view: str = ""
    mask: tuple[str, ...] = ()
    set: str = ""

    def used(self) -> frozenset[str]:
        """All columns that have a meaning of their own."""
        names = (*self.label, self.patient, self.source, self.view, *self.mask, self.set)
        return frozenset(name for name in names if name)


def plain(name: str) -> str:
    """A column name in lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_roles(table: CsvTable, labels: Labels, columns: Columns) -> Roles:
    """Finds the columns that `labels` and `columns` ask for, `auto` by their usual names.

    Raises:
        IsnetError: Kind "data", when a named column does not exist, two columns claim one role, or
            there is no label column.
    """
    found = {role: _find_column(table, role, getattr(columns, role)) for role in ROLE_NAMES}
    masks: tuple[str, ...] = (found["mask"],) if found["mask"] else ()
    if not masks and columns.mask == "auto":
        masks = _find_mask_pair(table)
    roles = Roles((), found["patient"], found["source"], found["view"], masks, found["set"])
    return replace(roles, label=_find_labels(table, labels, roles))


def require_column(table: CsvTable, name: str, setting: str) -> str:
    """`name`, which must be a column of `table`; `setting` is what to write before a better name.

    Raises:
        IsnetError: Kind "data", with the nearest names.
    """
    if name in table.columns:
        return name
    near = difflib.get_close_matches(name.lower(), [c.lower() for c in table.columns], n=1)
    match = next((c for c in table.columns if near and c.lower() == near[0]), None)
    raise IsnetError(
        "data",
        f"{table.path}: no column '{name}', found {list_names(table.columns)}",
        fix=f"{setting}{match or 'one of them'}",
    )


def list_names(names: tuple[str, ...] | list[str], limit: int = 12) -> str:
    """Names in quotes for a message, cut after `limit`."""
    text = ", ".join(f"'{name}'" for name in names[:limit])
    return f"{text} and {len(names) - limit} more" if len(names) > limit else text


def _find_column(table: CsvTable, role: str, setting: str | None) -> str:
    if setting is None:
        return ""
    if setting != "auto":
        return require_column(table, setting, f"data.columns.{role}: ")
    hits = [name for name in table.columns if plain(name) in ROLE_NAMES[role]]
    if len(hits) > 1:
        raise IsnetError(
            "data",
            f"{table.path}: columns {list_names(hits)} may all be the {role}, expected one",
            fix=f"data.columns.{role}: {hits[0]}   (or none)",
        )
    return hits[0] if hits else ""


def _find_mask_pair(table: CsvTable) -> tuple[str, ...]:
    left = [name for name in table.columns if plain(name) in LEFT_MASKS]
    right = [name for name in table.columns if plain(name) in RIGHT_MASKS]
    return (left[0], right[0]) if len(left) == 1 and len(right) == 1 else ()


def _find_labels(table: CsvTable, labels: Labels, roles: Roles) -> tuple[str, ...]:
    if labels.columns is not None:
        if not labels.columns:
            raise IsnetError(
                "data",
                f"{table.path}: data.labels.columns is an empty list, expected column names",
                fix="name the label columns, or leave data.labels.columns out",
            )
        for name in labels.columns:
            require_column(table, name, "data.labels.columns: ")
        return tuple(labels.columns)
    taken = roles.used()
    for tier in LABEL_NAMES:
        hits = [name for name in table.columns if plain(name) in tier and name not in taken]
        if len(hits) > 1:
            raise IsnetError(
                "data",
                f"{table.path}: columns {list_names(hits)} may all be the label, expected one",
                fix=f"data.labels.columns: [{hits[0]}]",
            )
        if hits:
            return (hits[0],)
    if labels.task == "multilabel":
        several = _find_finding_columns(table, labels, taken)
        if several:
            return several
    raise IsnetError(
        "data",
        f"{table.path}: no label column found among {list_names(table.columns)},"
        " expected one called label, class, diagnosis or finding",
        fix="data.labels.columns: [NAME]   (several names for data.labels.task: multilabel)",
    )


def _find_finding_columns(
    table: CsvTable, labels: Labels, taken: frozenset[str]
) -> tuple[str, ...]:
    """Columns of 0/1 values, or those that `labels.classes` names."""
    if labels.classes is not None:
        found = tuple(name for name in labels.classes if name in table.columns)
        return found or (require_column(table, labels.classes[0], "data.labels.classes: "),)
    keys = {*NOT_LABELS, *FILE_NAMES, *UID_NAMES, *ACCESSION_NAMES}
    return tuple(
        name
        for name in table.columns
        if name not in taken
        and plain(name) not in keys
        and not INDEX_NAMES.fullmatch(plain(name))
        and is_finding(table.column(name))
    )
