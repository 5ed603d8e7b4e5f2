"""Images of a run at the network's size: packed once, read in any order, handed out in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isnet_cli.config.schema import Config
from isnet_cli.core.files import fingerprint
from isnet_cli.core.parallel.ahead import ahead
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.dataset.marks_on_device import draw_marks
from isnet_cli.dataset.packed_file import pack
from isnet_cli.dataset.records import DEPTH, KeptRecords, RecordForm, Records
from isnet_cli.dataset.standardise import standardise
from isnet_cli.dataset.synthetic_marks import (
    assign_shapes,
    choose_shape,
    find_side,
    make_rng,
    place_shape,
)
from isnet_cli.errors import IsnetError
from isnet_cli.images.kept import load_image
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.resize import Frame
from isnet_cli.images.types import Row
from isnet_cli.labels.values import UnknownValueError, parse_label

Version = Literal["biased", "standard", "deceiving"]
PACKED_FORMAT = 1  # raised when the same images and settings give another packed file
READERS = 4  # threads that decode and resize, which releases the interpreter
CHUNK = 256  # images whose masks are looked at at a time
Pair = tuple[NDArray[np.uint16], NDArray[np.bool_]]


@dataclass(frozen=True)
class RawBatch:
    """What is read of a batch; all that is computed from it is computed on the device.

    Attributes:
        records: uint8 [B, size]; see `isnet_cli.dataset.records`.
        labels: int64 [B], or float32 [B, K] with NaN.
        shapes: Synthetic mark of each image; empty for none.
        corners: Their top left corners, int64 [B, 2]; [0, 2] for none.
    """

    records: Tensor
    labels: Tensor
    shapes: tuple[str, ...]
    corners: Tensor

    def to(self, device: torch.device) -> RawBatch:
        """The batch on `device`; the host does not wait."""
        moved = (t.to(device, non_blocking=True) for t in (self.records, self.labels, self.corners))
        records, labels, corners = moved
        return RawBatch(records, labels, self.shapes, corners)


@dataclass(frozen=True)
class ImageDataset:
    """Images of one or more sets, aligned by index.

    Attributes:
        records: Where images and masks come from.
        places: Place of each image in `records`, int64 [N].
        labels: Multi-class: float32 [N], class index, -1 for none. Multi-label: float32 [N, K],
            1, 0 or NaN for missing.
        rows: Manifest lines [N].
        classes: Class names, K.
        config: Says channels and synthetic bias.
        corners: Where the mark of an image goes, once it is known.
    """

    records: Records
    places: NDArray[np.int64]
    labels: NDArray[np.float32]
    rows: list[Row]
    classes: list[str]
    config: Config
    corners: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> list[str]:
        """Keys of the images."""
        return [row.key for row in self.rows]

    def read(
        self,
        indices: Sequence[int] | NDArray[np.int_],
        version: Version = "standard",
        *,
        pinned: bool = False,
    ) -> RawBatch:
        """Reads images, masks and labels of `indices`; safe to call from several threads.

        Args:
            indices: [B].
            version: With which synthetic marks. The place of a mark depends on the image's key and
                the configuration's seed alone, so `biased` and `deceiving` differ in nothing but
                the shape.
            pinned: Into memory that a GPU reads by itself.

        Raises:
            IsnetError: Kind "data", when a biased version of an image without label is asked for,
                or the images cannot be read.
        """
        at = np.asarray(indices, np.int64)
        form = self.records.form
        records = torch.empty(len(at), form.size, dtype=torch.uint8, pin_memory=pinned)
        self.records.read(self.places[at], records.numpy())
        shapes = () if version == "standard" else self._choose_shapes(at, version)
        corners = self._find_corners(at, shapes, records) if shapes else np.zeros((0, 2), np.int64)
        return RawBatch(records, self.targets(at), shapes, torch.from_numpy(corners))

    def unpack(self, raw: RawBatch) -> tuple[Tensor, Tensor]:
        """Images with their marks and masks of what was read, on its device.

        Returns:
            (images float32 [B, 1, h, w] in [0, 1], masks float32 [B, 1, h, w], 0 or 1).
        """
        images, masks = self.records.form.decode(raw.records)
        if raw.shapes:
            bias, form = self.config.bias, self.records.form
            side = find_side((form.height, form.width), bias.size)
            images = draw_marks(images, raw.shapes, raw.corners, side, bias.intensity)
        return images, masks

    def batch(
        self,
        indices: Sequence[int] | NDArray[np.int_],
        *,
        version: Version = "standard",
        device: torch.device | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Images and masks of `indices` as the network takes them.

        Args:
            indices: [B].
            version: As in `read`.
            device: Where they go; None: the CPU.

        Returns:
            (images float32 [B, C, h, w] in [0, 1], masks float32 [B, 1, h, w], 0 or 1).
        """
        raw = self.read(indices, version)
        images, masks = self.unpack(raw if device is None else raw.to(device))
        return self.spread(images), masks

    def spread(self, images: Tensor) -> Tensor:
        """Images [B, 1, h, w] in the channels of the network's input, [B, C, h, w]."""
        return images.expand(-1, self.config.model.channels, -1, -1).contiguous()

    def image(self, index: int, version: Version = "standard") -> NDArray[np.float32]:
        """One image [h, w] in [0, 1], with the synthetic mark of `version`; raises as `read`."""
        found: NDArray[np.float32] = self.unpack(self.read([index], version))[0][0, 0].numpy()
        return found

    def targets(self, indices: Sequence[int] | NDArray[np.int_]) -> Tensor:
        """Labels of `indices` as losses take them: int64 [B], or float32 [B, K] with NaN."""
        chosen = torch.from_numpy(self.labels[np.asarray(indices)])
        return chosen.long() if chosen.dim() == 1 else chosen

    def iterate_masks(self) -> Iterator[NDArray[np.bool_]]:
        """The lungs of all images in their order, some images [B, h, w] at a time."""
        form = self.records.form
        for start in range(0, len(self), CHUNK):
            places = self.places[start : start + CHUNK]
            into = np.empty((len(places), form.size), np.uint8)
            self.records.read(places, into)
            yield form.lungs(into)

    def has_mask(self) -> NDArray[np.bool_]:
        """Whether each image has lungs, bool [N]."""
        return np.concatenate([np.asarray(m.any(axis=(1, 2))) for m in self.iterate_masks()])

    def _choose_shapes(
        self, at: NDArray[np.int64], version: Literal["biased", "deceiving"]
    ) -> tuple[str, ...]:
        shapes = assign_shapes(len(self.classes), self.config.bias.shapes)
        several = self.labels.ndim != 1
        for i in at.tolist():
            if several or self.labels[i] < 0:
                raise IsnetError(
                    "data", f"{self.rows[i].key}: has no label, a shape per class needs one"
                )
        return tuple(choose_shape(int(self.labels[i]), version, shapes) for i in at.tolist())

    def _find_corners(
        self, at: NDArray[np.int64], shapes: Sequence[str], records: Tensor
    ) -> NDArray[np.int64]:
        """Top left corners of marks [B, 2], found once for each image and shape."""
        wanted = list(zip(at.tolist(), shapes, strict=True))
        lacking = [n for n, mark in enumerate(wanted) if mark not in self.corners]
        if lacking:
            form, bias = self.records.form, self.config.bias
            masks = form.lungs(records.numpy()[lacking])
            for n, lungs in zip(lacking, masks, strict=True):
                index, shape = wanted[n]
                rng = make_rng(self.rows[index].key, self.config.seed)
                side = find_side(lungs.shape, bias.size)
                self.corners[index, shape] = place_shape(lungs, shape, side, rng)
        return np.array([self.corners[mark] for mark in wanted], np.int64)


def list_classes(rows: Sequence[Row], config: Config) -> list[str]:
    """Names of the classes: as configured, else all labels found, sorted.

    Raises:
        IsnetError: Kind "data", when no image has a label, or labels are not those of the task.
    """
    if config.data.labels.classes:
        return list(config.data.labels.classes)
    found = {name for row in rows for name in _read_labels(row, config.data.labels.task)}
    if not found:
        raise IsnetError(
            "data",
            f"no label among {len(rows)} images",
            fix="set data.labels.file, or one folder per class",
        )
    return sorted(found)


def encode_labels(rows: Sequence[Row], classes: Sequence[str], task: str) -> NDArray[np.float32]:
    """Labels as numbers; see `ImageDataset.labels`.

    Raises:
        IsnetError: Kind "data", when labels are not those of the task.
    """
    if task == "multiclass":
        index = {name: i for i, name in enumerate(classes)}
        return np.array([index.get(row.label, -1) for row in rows], np.float32)
    table = [
        [known.get(name, np.nan) for name in classes]
        for known in (_read_labels(row, task) for row in rows)
    ]
    return np.array(table, np.float32).reshape(len(rows), len(classes))


def _read_labels(row: Row, task: str) -> dict[str, float]:
    try:
        return parse_label(row.label, task)
    except UnknownValueError as error:
        raise IsnetError(
            "data",
            f"{row.key}: one class per image, but data.labels.task is multilabel",
            fix="data.labels.task: multiclass",
        ) from error


def load_dataset(
    rows: Sequence[Row],
    folder: RunFolder,
    qc: Mapping[str, str],
    classes: Sequence[str],
    config: Config,
    context: RunContext,
) -> ImageDataset:
    """Reads images and masks at the network's size into memory; standardised as configured.

    Args:
        rows: Manifest lines with status ``ok``; few.
        folder: The run, whose ingest and masks are finished.
        qc: Verdict per key (``ok``, ``suspect``, ``missing``); a missing key is ``missing``.
        classes: Class names.
        config: The configuration.
        context: Side effects (progress).

    Raises:
        IsnetError: Kind "data", when an image or a mask is damaged, or was changed since its stage
            wrote it.
    """
    form = RecordForm(*config.model.input)
    kept = np.zeros((len(rows), form.size), np.uint8)
    for i, (image, mask) in enumerate(_load_pairs(rows, folder, qc, config, context)):
        kept[i] = form.make(image[None], mask[None])[0]
    return _make_dataset(KeptRecords(form, kept), range(len(rows)), rows, classes, config)


def pack_datasets(
    sets: Sequence[Sequence[Row]],
    folder: RunFolder,
    qc: Mapping[str, str],
    classes: Sequence[str],
    config: Config,
    place: Path,
    context: RunContext,
) -> list[ImageDataset]:
    """The images of several sets from one packed file, which is made where there is none of them.

    Args:
        sets: Manifest lines of each, with status ``ok``.
        folder: As in `load_dataset`, and so `qc`, `classes`, `config` and `context`.
        qc: See there.
        classes: See there.
        config: See there.
        place: Folder of the packed file.
        context: See there.

    Raises:
        IsnetError: As `load_dataset` and `isnet_cli.dataset.packed_file.pack`.
    """
    form, rows = RecordForm(*config.model.input), [row for some in sets for row in some]
    identity = fingerprint(
        PACKED_FORMAT, config.model.input, config.model.standardise,
        [folder.require(stage)["outputs"] for stage in ("ingest", "masks")],
        [[row.key, qc.get(row.key, "missing") != "missing"] for row in rows],
    )  # fmt: skip
    pairs = partial(_load_pairs, rows, folder, qc, config, context)
    if context.processes.leads:
        records = pack(place, identity, form, len(rows), pairs)
    context.processes.wait()
    if not context.processes.leads:
        records = pack(place, identity, form, len(rows), pairs)  # it is there now
    ends = np.cumsum([0, *(len(some) for some in sets)]).tolist()
    return [
        _make_dataset(records, range(a, b), some, classes, config)
        for a, b, some in zip(ends, ends[1:], sets, strict=False)
    ]


def _make_dataset(
    records: Records, places: range, rows: Sequence[Row], classes: Sequence[str], config: Config
) -> ImageDataset:
    labels = encode_labels(rows, classes, config.data.labels.task)
    at = np.arange(places.start, places.stop, dtype=np.int64)
    return ImageDataset(records, at, labels, list(rows), list(classes), config)


def _load_pairs(
    rows: Sequence[Row],
    folder: RunFolder,
    qc: Mapping[str, str],
    config: Config,
    context: RunContext,
) -> Iterator[Pair]:
    """Image uint16 and mask bool [h, w] of each row, in order; some are read ahead."""
    h, w = config.model.input
    ingest, masks_folder = folder.stage_dir("ingest"), folder.stage_dir("masks")

    def load(row: Row) -> Pair:
        frame = Frame((row.height, row.width), (h, w))
        folder.refuse_change("ingest", row.image_file)
        image = frame.to_network(load_image(ingest / row.image_file))
        mask = np.zeros((h, w), bool)
        if qc.get(row.key, "missing") != "missing":
            folder.refuse_change("masks", f"{row.key}.png")
            mask = frame.mask_to_network(load_mask(str(masks_folder / f"{row.key}.png")))
        image = standardise(image, mask, frame.inner, config.model.standardise)
        return np.rint(image.clip(0, 1) * DEPTH).astype(np.uint16), mask

    with ThreadPoolExecutor(READERS) as pool:
        loaded = ahead(pool, load, rows, depth=4 * READERS)
        yield from context.progress.track(loaded, "images", len(rows))
