"""Which images a training uses, and why the others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.dataset.image_dataset import ImageDataset
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_qc
from isnet_cli.images.types import Row


def choose_images(
    rows: Sequence[Row], qc: Mapping[str, str], config: Config, needs_masks: bool
) -> tuple[list[Row], list[Row], Counter[str]]:
    """Images to train and to validate on, and how many were left out for which reason.

    An image is left out when it has no label, when its mask is suspect and `masks.on_suspect` is
    ``exclude``, or when the method needs a mask and there is none.

    Args:
        rows: The manifest.
        qc: Verdict on the mask of each key; a key that is not there has no mask.
        config: The configuration.
        needs_masks: Whether the method needs a mask for each image.

    Raises:
        IsnetError: Kind "data", when a set is empty.
    """
    excluded: Counter[str] = Counter()
    chosen: dict[str, list[Row]] = {"train": [], "val": []}
    for row in rows:
        if row.status != "ok" or row.set not in chosen:
            continue
        verdict = qc.get(row.key, "missing")
        if not row.label:
            excluded["no label"] += 1
        elif verdict == "suspect" and config.masks.on_suspect == "exclude":
            excluded["suspect mask"] += 1
        elif verdict == "missing" and needs_masks:
            excluded["no mask"] += 1
        else:
            chosen[row.set].append(row)
    for name, images in chosen.items():
        if not images:
            why = ", ".join(f"{n} with {reason}" for reason, n in excluded.items()) or "none found"
            raise IsnetError(
                "data",
                f"set '{name}': no image to use ({why}), expected at least one",
                fix=f"data.sets.{name}, data.labels, or masks.on_suspect: keep",
            )
    return chosen["train"], chosen["val"], excluded


def read_verdicts(folder: RunFolder) -> dict[str, str]:
    """Verdict on the mask of each image: ``ok``, ``suspect`` or ``missing``."""
    return {r["key"]: r["verdict"] for r in read_qc(folder.stage_dir("masks"))}


def check_classes(train: ImageDataset, val: ImageDataset, context: RunContext) -> None:
    """Warns of classes that validation lacks.

    Raises:
        IsnetError: Kind "data", for a class the training images lack or a label that is no class.
    """
    if train.labels.ndim != 1:
        _check_findings(train, context)
        return
    for name, dataset in (("train", train), ("val", val)):
        unknown = sorted(
            {r.label for r, v in zip(dataset.rows, dataset.labels, strict=True) if v < 0}
        )
        if unknown:
            raise IsnetError(
                "data",
                f"set '{name}': class {', '.join(unknown)} is not among {', '.join(train.classes)}",
                fix="name all classes in data.labels.classes, or remove them from the set",
            )
    absent = [c for i, c in enumerate(train.classes) if not (train.labels == i).any()]
    if absent or len(train.classes) < 2:
        raise IsnetError(
            "data",
            f"set 'train': no image of class {', '.join(absent)}" if absent
            else f"set 'train': one class only ({train.classes[0]}), expected two or more",
            fix="data.sets.train, data.labels.classes",
        )  # fmt: skip
    missing = [c for i, c in enumerate(val.classes) if not (val.labels == i).any()]
    if missing:
        context.warn("data", f"set 'val': no image of class {', '.join(missing)}")


def _check_findings(train: ImageDataset, context: RunContext) -> None:
    """Several labels: warns of findings that are always or never there.

    Raises:
        IsnetError: Kind "data", when that holds for all of them.
    """
    fixed = [
        name
        for name, column in zip(train.classes, train.labels.T, strict=True)
        if len({float(value) for value in column if not np.isnan(value)}) < 2
    ]
    if len(fixed) == len(train.classes):
        raise IsnetError(
            "data",
            f"set 'train': {', '.join(fixed)}: the same answer for every image, expected images"
            " with and without a finding",
            fix="data.sets.train, data.labels.columns",
        )
    if fixed:
        context.warn("data", f"set 'train': the same answer for every image: {', '.join(fixed)}")


def check_masks(train: ImageDataset) -> None:
    """For methods that learn from masks: at least one that is neither empty nor full.

    Raises:
        IsnetError: Kind "data".
    """
    shares = (masks.reshape(len(masks), -1).mean(axis=1) for masks in train.iterate_masks())
    if not any(((share > 0) & (share < 1)).any() for share in shares):
        raise IsnetError(
            "data",
            f"set 'train': the masks of all {len(train)} images are empty or full, expected lungs"
            " in some",
            fix="isnet masks CONFIG; or train.method: standard, which needs no masks",
        )
