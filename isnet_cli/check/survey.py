"""The body of `isnet init`: what lies in and beside a folder, by names and first bytes."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.errors import IsnetError
from isnet_cli.images.detect_format import detect_format
from isnet_cli.images.find import collect_images
from isnet_cli.images.mask_files import find_masks
from isnet_cli.labels.join import Join, join_labels
from isnet_cli.labels.join_keys import ImageName
from isnet_cli.labels.tables import LabelTable, read_folder_labels, read_labels

TABLE_SUFFIXES = {".csv", ".tsv"}
SAMPLED = 200  # files whose first bytes are looked at, spread over the folder
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
    notes: list[str] = []
    if labels is not None:
        task, table, found = _read_as_labels(labels, names, images)
        return _add_labels(base, task, table, found, notes)
    best: tuple[str, LabelTable, Join] | None = None
    for path in _list_tables(folder, images):
        try:
            candidate = _read_as_labels(path, names, images)
        except IsnetError as error:
            notes.append(f"{path.name}: not used as labels ({error.message.partition(': ')[2]})")
            continue
        if best is None or candidate[2].chosen.images > best[2].chosen.images:
            best = candidate
    if best is not None:
        return _add_labels(base, *best, notes)
    return _add_folder_labels(base, paths, notes)


def _read_as_labels(path: Path, names: list[ImageName], root: Path) -> tuple[str, LabelTable, Join]:
    """The label file as multi-class, else as multi-label; the first reading's fault counts."""
    first: IsnetError | None = None
    for task in ("multiclass", "multilabel"):
        labels = Labels.model_validate({"file": str(path), "task": task})
        try:
            table = read_labels(labels, Columns())
            return task, table, join_labels(names, table, labels, [root])
        except IsnetError as error:
            first = first or error
    assert first is not None  # noqa: S101 - the loop ran
    raise first


def _add_labels(
    base: Survey, task: str, table: LabelTable, found: Join, notes: list[str]
) -> Survey:
    several = task == "multilabel" and len(table.roles.label) > 1
    return Survey(
        **{
            **vars(base),
            "labels": table.csv.path,
            "matched": found.chosen.images,
            "task": task,
            "columns": table.roles.label if several else (),
            "classes": table.classes,
            "sources": tuple(sorted({row.source for row in table.rows} - {""})),
            "notes": (*notes, *table.warnings),
        }
    )


def _add_folder_labels(base: Survey, paths: list[Path], notes: list[str]) -> Survey:
    root = os.path.abspath(base.images)
    inner = [PurePosixPath(Path(os.path.relpath(path, root)).as_posix()) for path in paths]
    rows = read_folder_labels(inner, None)
    if rows is None:
        return Survey(**{**vars(base), "notes": tuple(notes)})
    found = Counter(row.label for row in rows)
    changes = {"classes": tuple(sorted(found)), "matched": len(rows), "notes": tuple(notes)}
    return Survey(**{**vars(base), **changes})


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
