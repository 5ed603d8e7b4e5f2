"""The body of `isnet init`: what lies in and beside a folder, by names and first bytes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.errors import IsnetError
from isnet_cli.images.detect_format import detect_format
from isnet_cli.images.find import collect_images
from isnet_cli.images.header_scan import drop_placeholder, scan_header
from isnet_cli.images.mask_files import find_masks
from isnet_cli.ingest.label_sources import describe_labels
from isnet_cli.labels.csv_table import read_table
from isnet_cli.labels.join import join_labels
from isnet_cli.labels.join_keys import ImageName, RowFinder
from isnet_cli.labels.path_patterns import propose_patient_pattern
from isnet_cli.labels.repeated import Repeated
from isnet_cli.labels.tables import LabelTable, interpret_table, read_folder_labels

TABLE_SUFFIXES = {".csv", ".tsv"}
SAMPLED = 200  # files whose first bytes are looked at, spread over the folder
HEADERS = 20  # files whose headers are looked at for a patient
IMAGE_FOLDERS = ("images", "image", "films", "xrays", "x-rays")
MASK_FOLDERS = ("masks", "mask", "lungs", "lung_masks", "lungmasks")


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        images: The folder of images.
        count: Number of candidate files in it.
        formats: Formats of a sample of them, most frequent first; ``other`` for the rest.
        labels: The label file that fits most images, or None.
        matched: Images that find a row in it.
        task: ``multiclass`` or ``multilabel``.
        columns: Label columns as the file names them; empty when found by their usual name.
        why: Which label columns were chosen, and what spoke for them.
        repeated: What to make of several rows of one image, as `Data.repeated`.
        patient: Setting of ``data.columns.patient`` that reads the patient from paths, or empty.
        classes: Class names; also those of a folder-per-class layout.
        sources: Collections named by the label file.
        masks: Folder of given masks, or None.
        masked: Images that find a mask.
        notes: What the user should know, one sentence each.
    """

    images: Path
    count: int
    formats: tuple[str, ...]
    labels: Path | None = None
    matched: int = 0
    task: str = "multiclass"
    columns: tuple[str, ...] = ()
    why: str = ""
    repeated: str = "refuse"
    patient: str = ""
    classes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    masks: Path | None = None
    masked: int = 0
    notes: tuple[str, ...] = ()


def survey_folder(folder: Path, labels: Path | None = None) -> Survey:
    """Surveys a folder of X-rays, or one that holds an ``images`` folder; reads no pixels.

    Args:
        folder: Where to look.
        labels: The label file, when the user named it.

    Raises:
        IsnetError: Kind "data", when there is no image, or the named label file does not fit.
    """
    images = next((folder / n for n in IMAGE_FOLDERS if (folder / n).is_dir()), folder)
    candidates = collect_images(str(images)).images
    keys = [key for key, _ in candidates]
    paths = [path for _, path in candidates]
    masks, masked = _find_mask_folder(images, keys)
    base = Survey(images, len(candidates), _detect_formats(paths), masks=masks, masked=masked)
    names = [ImageName(path, key) for key, path in candidates]
    return _propose_patient(_add_labels(base, folder, labels, names), paths)


def _add_labels(base: Survey, folder: Path, labels: Path | None, names: list[ImageName]) -> Survey:
    """The survey with the labels of the named table, of the one that fits best, or of folders."""
    if labels is not None:
        return _describe_reading(base, _read_as_labels(labels, names, base.images), ())
    notes: list[str] = []
    readings: list[_Reading] = []
    for path in _list_tables(folder, base.images):
        try:
            readings.append(_read_as_labels(path, names, base.images))
        except IsnetError as error:
            what = error.message.partition(": ")[2]
            notes.append(f"{path.name}: not used as labels ({what}); {error.fix}")
    if not readings:
        paths = [name.path for name in names]
        return _add_folder_labels(base, paths, notes)
    best = max(readings, key=lambda reading: reading.images)
    notes += [
        f"{reading.table.csv.path.name}: fits {reading.images} images too; labels.file chooses"
        for reading in readings
        if reading is not best and reading.images == best.images
    ]
    return _describe_reading(base, best, notes)


class _Reading(NamedTuple):
    """A label file as it can be read."""

    task: str
    repeated: Repeated
    table: LabelTable
    images: int  # that have a row


def _read_as_labels(path: Path, names: list[ImageName], root: Path) -> _Reading:
    """The label file in the first way that works; else the fault of the way that came furthest.

    One class per image, else several; one row per image, else several.
    """
    cells = read_table(path)
    finder = RowFinder(names, cells, [root])
    faults: list[tuple[bool, IsnetError]] = []  # whether the table was read, and what was wrong
    ways: tuple[tuple[str, Repeated], ...] = (
        *(("multiclass", "refuse"), ("multilabel", "refuse")),
        *(("multiclass", "any"), ("multilabel", "any")),
    )
    for task, repeated in ways:
        labels = Labels.model_validate({"file": str(path), "task": task})
        table = None
        try:
            table = interpret_table(cells, labels, Columns())
            found = join_labels(
                names, table, labels, [root], repeated, finder=finder, propose=False
            )
        except IsnetError as error:
            faults.append((table is not None, error))
        else:
            return _Reading(task, repeated, table, found.chosen.images)
    raise max(faults, key=lambda fault: fault[0])[1]


def _describe_reading(base: Survey, reading: _Reading, notes: Sequence[str]) -> Survey:
    table = reading.table
    several = reading.task == "multilabel" and len(table.roles.label) > 1
    return replace(
        base,
        labels=table.csv.path,
        matched=reading.images,
        task=reading.task,
        columns=table.roles.label if several else (),
        why=describe_labels(table.roles),
        repeated=reading.repeated,
        patient=table.roles.patient,
        classes=table.classes,
        sources=tuple(sorted({row.source for row in table.rows} - {""})),
        notes=(*notes, *table.warnings),
    )


def _propose_patient(found: Survey, paths: list[Path]) -> Survey:
    """The survey with a pattern for the patient, where neither table nor headers name any."""
    if found.patient:
        return replace(found, patient="")
    step = max(1, len(paths) // HEADERS)
    headers = map(scan_header, paths[::step]) if "dicom" in found.formats else ()
    if any(drop_placeholder(header.identity.patient) for header in headers):
        return found
    root = os.path.abspath(found.images)
    inside = [Path(os.path.relpath(os.path.abspath(path), root)).as_posix() for path in paths]
    return replace(found, patient=propose_patient_pattern(inside))


def _add_folder_labels(base: Survey, paths: list[Path], notes: list[str]) -> Survey:
    root = os.path.abspath(base.images)
    inner = [PurePosixPath(Path(os.path.relpath(path, root)).as_posix()) for path in paths]
    rows = read_folder_labels(inner, None)
    if rows is None:
        return replace(base, notes=tuple(notes))
    found = Counter(row.label for row in rows)
    return replace(base, classes=tuple(sorted(found)), matched=len(rows), notes=tuple(notes))


def _list_tables(folder: Path, images: Path) -> list[Path]:
    """Tables in the folder, in its images folder, and beside that one."""
    places = dict.fromkeys([folder, images, Path(os.path.abspath(images)).parent])
    return [
        path
        for place in places
        for path in sorted(place.iterdir())
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file()
    ]


def _find_mask_folder(images: Path, keys: list[str]) -> tuple[Path | None, int]:
    beside = Path(os.path.abspath(images)).parent
    for name in MASK_FOLDERS:
        if (beside / name).is_dir():
            try:
                count = sum(bool(mask) for mask in find_masks(beside / name, keys))
            except IsnetError:
                continue
            if count:
                return beside / name, count
    return None, 0


def _detect_formats(paths: list[Path]) -> tuple[str, ...]:
    step = max(1, len(paths) // SAMPLED)
    found: Counter[str] = Counter()
    for path in paths[::step]:
        try:
            found[detect_format(path) or "other"] += 1
        except OSError:
            found["other"] += 1
    return tuple(name for name, _ in found.most_common())
