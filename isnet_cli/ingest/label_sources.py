"""Where the labels of one collection of images come from: a table, a manifest, or folders."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from isnet_cli.config.schema import COLLECTIONS, Columns, Labels, Limits
from isnet_cli.core.files import without_nan
from isnet_cli.errors import IsnetError
from isnet_cli.images.find import (
    Collected,
    list_places,
    make_printable,
    normalise_path,
    normalise_slashes,
)
from isnet_cli.images.header_scan import HeaderFacts, drop_placeholder
from isnet_cli.images.manifest import is_manifest, read_manifest
from isnet_cli.images.mask_files import PAIR
from isnet_cli.images.types import Row
from isnet_cli.labels.column_names import list_names
from isnet_cli.labels.columns import Roles
from isnet_cli.labels.join import Attempt, Join, join_labels, needs_headers
from isnet_cli.labels.join_keys import ImageName
from isnet_cli.labels.lists import merge_spellings
from isnet_cli.labels.path_patterns import find_in_path, is_pattern, propose_patient_pattern
from isnet_cli.labels.repeated import Repeated
from isnet_cli.labels.tables import (
    LabelRow,
    LabelTable,
    order_classes,
    read_folder_labels,
    read_labels,
)
from isnet_cli.labels.values import UnknownValueError, decode_findings, encode_findings
from isnet_cli.text.forms import make_encodable

MAIN = ""  # name of the collection that `data.images` is
NONE = LabelRow(0, "")
PATTERNS = ("patient", "source")  # what a pattern of the path may name
EXAMPLES = 5


def is_main(name: str) -> bool:
    """Whether the sets share the images of this collection."""
    return name == MAIN or name.startswith(COLLECTIONS)


def name_plainly(name: str) -> str:
    """What images of a collection have for a source, if nothing else names it."""
    return name.removeprefix(COLLECTIONS)


def name_key(name: str) -> str:
    """The configuration's key that describes a collection: ``data``, ``data.sets.north``."""
    if name == MAIN:
        return "data"
    return f"data.{name}" if is_main(name) else f"data.sets.{name}"


@dataclass(frozen=True)
class Collection:
    """Images with one way of labelling them.

    Attributes:
        name: `MAIN`, `COLLECTIONS` with a name, or the set that these images belong to.
        images: As `Data.images`.
        labels: Where their labels are.
        columns: Optional columns of the label file.
        limits: What the label file may be.
        repeated: What to make of rows of one image that differ in their label.
        partial: They may all be of one class, and need not have all configured ones.
    """

    name: str
    images: str | list[str]
    labels: Labels
    columns: Columns
    limits: Limits = field(default_factory=Limits)
    repeated: Repeated = "refuse"
    partial: bool = False


class Labelling:
    """How the images of one collection get their label rows.

    Args:
        collection: The images and what is configured about their labels.
        images: Their files.
        known: Classes of the main images read before, which a set's own labels must agree with, and
            whose spelling counts; empty when there are none.

    Attributes:
        images: The files that are images.
        classes: Class names found, in order.
        match: Lines of the match table, or one sentence.
        warnings: What the user should know, one sentence each.
        lost: Lines of the label file whose rows found no image; None without a label file.
    """

    def __init__(self, collection: Collection, images: Collected, known: tuple[str, ...]) -> None:
        self._collection = collection
        self.images = images
        self._known = known
        self._table: LabelTable | None = None
        self._join: Join | None = None
        self.classes: tuple[str, ...] = ()
        self.match: tuple[str, ...] = ()
        self.warnings: list[str] = []
        self.lost: tuple[int, ...] | None = None

    def join_by_names(self) -> None:
        """Reads the label file; joins it when file names are all that is needed.

        Files that the table's mask column names are no images: they leave `images`.
        """
        labels = self._collection.labels
        if labels.file is None:
            return
        self._table = read_labels(
            labels,
            self._collection.columns,
            outside=self._collection.partial,
            limits=self._collection.limits,
        )
        self.warnings += self._table.warnings
        self.classes = self._table.classes
        self._leave_out_masks(self._table)
        if not needs_headers(self._table, labels):
            self._join = self._join_table(self._table, [HeaderFacts()] * len(self.images.images))

    def find_rows(self, headers: Sequence[HeaderFacts]) -> list[tuple[LabelRow, str]]:
        """Finds the label row and the mask files of each image."""
        if self._table is not None:
            self._join = self._join or self._join_table(self._table, headers)
            found = self._read_table(self._table, self._join)
        else:
            found = self._read_manifests() or self._read_folders(headers)
        known = self._known
        spelled = {c: merge_spellings({c: 1}, known)[c] for c in {row.label for row, _ in found}}
        found = [(self._align(row, spelled), masks) for row, masks in found]
        for role in PATTERNS:
            found = self._read_paths(role, found)
        self._warn_of_patients(found, headers)
        return found

    def _list_paths(self) -> list[str]:
        """Paths of the images below their folder, with forward slashes."""
        root = os.path.abspath(self.images.root)
        return [
            normalise_slashes(os.path.relpath(os.path.abspath(path), root))
            for _, path in self.images.images
        ]

    def _read_paths(
        self, role: str, rows: list[tuple[LabelRow, str]]
    ) -> list[tuple[LabelRow, str]]:
        """The rows with patient or source as a configured pattern finds it in the paths."""
        setting = getattr(self._collection.columns, role)
        if not is_pattern(setting) or not rows:
            return rows
        paths = self._list_paths()
        values = [find_in_path(setting, role, path) for path in paths]
        where = f"data.columns.{role}"
        if not any(values):
            other = propose_patient_pattern(paths) if role == "patient" else ""
            raise IsnetError(
                "data",
                f"{where}: '{setting}' is in none of {len(paths)} paths below the folder of images,"
                f" expected the {role} of each image",
                fix=f"{where}: '{other}'" if other else f"correct the pattern, or {where}: auto",
            )
        lost = values.count("")
        if lost:
            self.warnings.append(f"{where}: '{setting}' is not in the paths of {lost} images")
        return [
            (_state(row, role, value) if value else row, masks)
            for (row, masks), value in zip(rows, values, strict=True)
        ]

    def _warn_of_patients(
        self, rows: list[tuple[LabelRow, str]], headers: Sequence[HeaderFacts]
    ) -> None:
        """Warns when nothing names the patients and the paths look as if they did."""
        known = any(row.patient for row, _ in rows) or any(
            drop_placeholder(header.identity.patient) for header in headers
        )
        if known or self._collection.columns.patient is None:
            return
        paths = self._list_paths()
        found = propose_patient_pattern(paths)
        values = [find_in_path(found, "patient", path) for path in paths] if found else []
        if values and values != [row.label for row, _ in rows]:
            self.warnings.append(
                f"the patient of {len(paths)} images is unknown, so images of one patient can be in"
                f" several sets; the paths seem to name {len(set(values) - {''})} patients: set"
                f" data.columns.patient: '{found}'"
            )

    def _leave_out_masks(self, table: LabelTable) -> None:
        bases = self._list_bases(table)
        masks = {
            place for row in table.rows for mask in row.masks for place in list_places(mask, bases)
        }
        images = [
            x for x in self.images.images if normalise_path(os.path.abspath(x[1])) not in masks
        ]
        self.images = Collected(self.images.root, images)

    def _list_bases(self, table: LabelTable) -> list[str]:
        """Folders that paths written in the table may start from."""
        return [os.path.abspath(base) for base in (table.csv.path.parent, self.images.root)]

    def _join_table(self, table: LabelTable, headers: Sequence[HeaderFacts]) -> Join:
        names = [
            ImageName(path, key, header.identity)
            for (key, path), header in zip(self.images.images, headers, strict=True)
        ]
        collection = self._collection
        roots = [self.images.root]
        found = join_labels(names, table, collection.labels, roots, collection.repeated)
        self.match = (
            *found.table,
            f"joined by {found.chosen.kind}, column '{found.chosen.column}'",
            describe_labels(table.roles),
            *self._describe_rest(table, found.chosen),
        )
        return found

    def _describe_rest(self, table: LabelTable, chosen: Attempt) -> Iterator[str]:
        """What has several rows, what has none, and which rows have nothing."""
        several = chosen.used_rows - len({row for row in chosen.rows if row is not None})
        if several:
            yield f"{several} rows repeat an image and were merged with its first row"
        alone = chosen.rows.count(None)
        if alone:
            yield f"{alone} images have no row"
        used = chosen.used | {row for row in chosen.rows if row is not None}
        lost = tuple(row.line for i, row in enumerate(table.rows) if i not in used)
        self.lost = lost
        if lost:
            shown = ", ".join(map(str, lost[:EXAMPLES]))
            more = ", ..." if len(lost) > EXAMPLES else ""
            yield f"{len(lost)} rows have no image (line {shown}{more})"

    def _read_table(self, table: LabelTable, found: Join) -> list[tuple[LabelRow, str]]:
        bases = self._list_bases(table)
        rows = [row or NONE for row in found.chosen.stated]
        return [(row, PAIR.join(_find_mask(mask, bases) for mask in row.masks)) for row in rows]

    def _read_manifests(self) -> list[tuple[LabelRow, str]] | None:
        """Labels of the manifests of other runs, when those are what the images are."""
        images = self._collection.images
        entries = [Path(entry) for entry in ([images] if isinstance(images, str) else images)]
        if not all(is_manifest(entry) for entry in entries):
            return None
        rows: dict[str, Row] = {}
        for entry in entries:
            base = os.path.abspath(entry.parent)
            for row in read_manifest(entry):
                for place in list_places(row.path or row.image_file, [base]):
                    rows.setdefault(place, row)
        found = [rows[normalise_path(os.path.abspath(path))] for _, path in self.images.images]
        self._set_classes([row.label for row in found if row.label], str(entries[0]))
        self.match = (f"labels from the manifest {make_printable(str(entries[0]))}",)
        return [
            (LabelRow(0, row.label, row.source, row.patient, row.view, set=row.set), row.mask_file)
            for row in found
        ]

    def _read_folders(self, headers: Sequence[HeaderFacts]) -> list[tuple[LabelRow, str]]:
        """Labels from folder names, where there is one folder per class."""
        root = os.path.abspath(self.images.root)
        images = {
            i: PurePosixPath(make_encodable(os.path.relpath(os.path.abspath(path), root)))
            for i, ((_, path), header) in enumerate(zip(self.images.images, headers, strict=True))
            if header.kind
        }
        labels = self._collection.labels
        rows = read_folder_labels(
            list(images.values()), labels.classes or list(self._known) or None
        )
        if rows is None:
            self.match = ("no labels: no label file, and the folders are not one per class",)
            return [(NONE, "")] * len(headers)
        count = Counter(row.label for row in rows if row.label)
        self.classes = order_classes(count, labels, make_printable(str(self.images.root)), 1)
        shown = ", ".join(f"{name} ({count[name]})" for name in sorted(count))
        self.match = (f"labels from one folder per class: {shown}",)
        if labels.task == "multilabel":
            rows = [self._write_findings(row) for row in rows]
        of_image = dict(zip(images, rows, strict=True))
        return [(of_image.get(i, NONE), "") for i in range(len(headers))]

    def _write_findings(self, row: LabelRow) -> LabelRow:
        """A row with one class as the multi-label text of all classes."""
        values: dict[str, float | None] = {c: float(c == row.label) for c in self.classes}
        return replace(row, label=encode_findings(values) if row.label else "")

    def _set_classes(self, found: list[str], entry: str) -> None:
        """Classes of a manifest's labels, whose form must fit the task."""
        labels = self._collection.labels
        if labels.task == "multilabel":
            try:
                found = [name for text in found for name in decode_findings(text)]
            except UnknownValueError as error:
                raise IsnetError(
                    "data",
                    f"{make_printable(entry)}: one class per image, but data.labels.task is"
                    " multilabel",
                    fix="data.labels.task: multiclass",
                ) from error
        self.classes = order_classes(Counter(found), labels, "manifest", 1) if found else ()

    def _align(self, row: LabelRow, spelled: Mapping[str, str]) -> LabelRow:
        """The row in terms of the main images' classes, whose spelling `spelled` has."""
        name, known = self._collection.name, self._known
        if name == MAIN or not known or not row.label:
            return row
        if self._collection.labels.task == "multilabel":
            if is_main(name):
                return row
            values = decode_findings(row.label)
            kept = {name: values.get(name, math.nan) for name in known}
            return replace(row, label=encode_findings(without_nan(kept)))
        label = spelled[row.label]
        if label not in known and not is_main(name):
            raise IsnetError(
                "data",
                f"data.sets.{name}: class '{row.label}', expected one of the main images' classes"
                f" {', '.join(map(repr, known))}",
                fix="write the class in the same way in both label files,"
                f"   or choose classes: data.sets.{name}.labels.classes: [...]",
            )
        return replace(row, label=label)


def _state(row: LabelRow, role: str, value: str) -> LabelRow:
    if role == "patient":
        return replace(row, patient=value)
    return replace(row, source=value)


def describe_labels(roles: Roles) -> str:
    """Which columns the labels come from, and why."""
    names = list_names(roles.label, 4)
    return f"labels from {names} ({roles.why})" if roles.why else f"labels from {names}"


def _find_mask(mask: str, bases: list[str]) -> str:
    """The place of a mask file: the first that exists, else the first possible."""
    possible = list_places(mask, bases)
    return next((place for place in possible if os.path.isfile(place)), possible[0])
