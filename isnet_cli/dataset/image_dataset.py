"""Images of a run at the network's size: read once, kept in memory, handed out in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.dataset.standardise import standardise
from isnet_cli.dataset.synthetic_marks import assign_shapes, choose_shape, draw_shape, make_rng
from isnet_cli.errors import IsnetError
from isnet_cli.images.kept import load_image
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.resize import Frame
from isnet_cli.images.types import Row
from isnet_cli.labels.values import UnknownValueError, parse_label

Version = Literal["biased", "standard", "deceiving"]
DEPTH = 65535  # images are kept as uint16, so 16-bit depth reaches the network


@dataclass(frozen=True)
class ImageDataset:
    """Images of one or more sets, aligned by index.

    Attributes:
        images: uint16 [N, h, w]; 65535 is white.
        masks: Lungs, bool [N, h, w]; all false where an image has no mask.
        has_mask: bool [N].
        labels: Multi-class: float32 [N], class index, -1 for none. Multi-label: float32 [N, K],
            1, 0 or NaN for missing.
        rows: Manifest lines [N].
        classes: Class names, K.
        config: Says channels and synthetic bias.
    """

    images: NDArray[np.uint16]
    masks: NDArray[np.bool_]
    has_mask: NDArray[np.bool_]
    labels: NDArray[np.float32]
    rows: list[Row]
    classes: list[str]
    config: Config

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> list[str]:
        """Keys of the images."""
        return [row.key for row in self.rows]

    def image(self, index: int, version: Version = "standard") -> NDArray[np.float32]:
        """One image [h, w] in [0, 1], with the synthetic mark of `version`.

        The shape's place depends on the image's key and the configuration's seed alone, so
        `biased` and `deceiving` differ in nothing but the shape.

        Raises:
            IsnetError: Kind "data", when a biased version of an image without label is asked for.
        """
        pixels: NDArray[np.float32] = self.images[index].astype(np.float32) / np.float32(DEPTH)
        if version == "standard":
            return pixels
        label = int(self.labels[index]) if self.labels.ndim == 1 else -1
        if label < 0:
            raise IsnetError(
                "data", f"{self.rows[index].key}: has no label, a shape per class needs one"
            )
        bias = self.config.bias
        shapes = assign_shapes(len(self.classes), bias.shapes)
        return draw_shape(
            pixels,
            self.masks[index],
            choose_shape(label, version, shapes),
            size=bias.size,
            intensity=bias.intensity,
            rng=make_rng(self.rows[index].key, self.config.seed),
        )

    def batch(
        self, indices: Sequence[int] | NDArray[np.int_], *, version: Version = "standard"
    ) -> tuple[Tensor, Tensor]:
        """Images and masks of `indices` as the network takes them.

        Returns:
            (images float32 [B, C, h, w] in [0, 1], masks float32 [B, 1, h, w], 0 or 1).
        """
        images = torch.from_numpy(np.stack([self.image(int(i), version) for i in indices]))
        masks = torch.from_numpy(self.masks[np.asarray(indices)].astype(np.float32))
        channels = self.config.model.channels
        return images[:, None].expand(-1, channels, -1, -1).contiguous(), masks[:, None]

    def targets(self, indices: Sequence[int] | NDArray[np.int_]) -> Tensor:
        """Labels of `indices` as losses take them: int64 [B], or float32 [B, K] with NaN."""
        chosen = torch.from_numpy(self.labels[np.asarray(indices)])
        return chosen.long() if chosen.dim() == 1 else chosen


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
    """Reads images and masks at the network's size; images are standardised as configured.

    Args:
        rows: Manifest lines with status ``ok``.
        folder: The run, whose ingest and masks are finished.
        qc: Verdict per key (``ok``, ``suspect``, ``missing``); a missing key is ``missing``.
        classes: Class names.
        config: The configuration.
        context: Side effects (progress).

    Raises:
        IsnetError: Kind "data", when an image or a mask is damaged, or was changed since its stage
            wrote it.
    """
    h, w = config.model.input
    ingest, masks_folder = folder.stage_dir("ingest"), folder.stage_dir("masks")

    def load(row: Row) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
        frame = Frame((row.height, row.width), (h, w))
        folder.refuse_change("ingest", row.image_file)
        image = frame.to_network(load_image(ingest / row.image_file))
        mask = np.zeros((h, w), bool)
        if qc.get(row.key, "missing") != "missing":
            folder.refuse_change("masks", f"{row.key}.png")
            mask = frame.mask_to_network(load_mask(str(masks_folder / f"{row.key}.png")))
        image = standardise(image, mask, frame.inner, config.model.standardise)
        return np.rint(image.clip(0, 1) * DEPTH).astype(np.uint16), mask

    images = np.zeros((len(rows), h, w), np.uint16)
    masks = np.zeros((len(rows), h, w), bool)
    with ThreadPoolExecutor(max_workers=4) as pool:  # decoding and resizing release the GIL
        loaded = pool.map(load, rows)
        for i, (image, mask) in enumerate(context.progress.track(loaded, "images", len(rows))):
            images[i], masks[i] = image, mask
    labels = encode_labels(rows, classes, config.data.labels.task)
    has_mask = np.asarray(masks.any(axis=(1, 2)))
    return ImageDataset(images, masks, has_mask, labels, list(rows), list(classes), config)
