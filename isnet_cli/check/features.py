"""What `isnet check` takes from pixels: for each image a hash, and the features for probes.

Images come from a run that has read them already, or from the input files; masks from the run, or
from given files. Nothing is written. Works in processes, so nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isnet_cli.check.near_duplicates import Hash, hash_image
from isnet_cli.check.thumbnails import describe_background, describe_lungs
from isnet_cli.config.schema import Bias, Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.runtime import derive_seed
from isnet_cli.core.workers import make_budget, run_tasks, worker_count
from isnet_cli.dataset.standardise import standardise
from isnet_cli.dataset.synthetic_marks import assign_shapes, choose_shape, draw_shape, make_rng
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.guard.worker import Lost
from isnet_cli.images.kept import load_image
from isnet_cli.images.manifest import locate_masks, read_manifest, read_qc
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.read import read_images
from isnet_cli.images.resize import Frame
from isnet_cli.images.sanity import check_sanity
from isnet_cli.images.types import Row


@dataclass(frozen=True)
class ImageSource:
    """One image to examine.

    Attributes:
        row: Its manifest line.
        image: The file: a kept image of a run, or the input file.
        kept: Whether it is a kept image.
        mask: Mask file or two joined by ``|``; empty when there is none.
        shape: Synthetic shape in its background as in training; empty for none.
    """

    row: Row
    image: Path
    kept: bool
    mask: str
    shape: str = ""


@dataclass(frozen=True)
class ImageFeatures:
    """What was found in one image.

    Attributes:
        row: Its manifest line.
        hash: `hash_image`.
        background: `describe_background` at the network's size, or None without a mask.
        lungs: `describe_lungs`, or None without a mask.
    """

    row: Row
    hash: Hash
    background: NDArray[np.float32] | None = None
    lungs: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Task:
    source: ImageSource
    config: Config


def list_run_images(run: RunFolder, config: Config) -> list[ImageSource]:
    """The usable images of a run whose ingest stage is finished, with the masks that it trusts.

    Without a finished masks stage, given mask files are used.
    """
    ingest, masks = run.stage_dir("ingest"), run.stage_dir("masks")
    rows = [row for row in read_manifest(ingest / "manifest.csv") if row.status == "ok"]
    given = {row.key: locate_masks(row, ingest) for row in rows}
    if run.stage_record("masks") is not None:
        good = {"ok", "suspect"} if config.masks.on_suspect == "keep" else {"ok"}
        verdicts = {line["key"]: line["verdict"] for line in read_qc(masks)}
        given = {
            row.key: str(masks / f"{row.key}.png") if verdicts.get(row.key) in good else ""
            for row in rows
        }
    return [ImageSource(row, ingest / row.image_file, True, given[row.key]) for row in rows]


def choose_images(sources: Sequence[ImageSource], limit: int, seed: int) -> list[ImageSource]:
    """At most `limit` images, chosen by the seed, in their order."""
    if len(sources) <= limit:
        return list(sources)
    rng = np.random.default_rng(derive_seed(seed, "audit"))
    chosen = np.sort(rng.choice(len(sources), limit, replace=False))
    return [sources[i] for i in chosen.tolist()]


def add_shapes(sources: Sequence[ImageSource], config: Config) -> list[ImageSource]:
    """With the shape of its class for each labelled image, when training images get shapes."""
    if not trains_with_shapes(config.bias):
        return list(sources)
    found = sorted({source.row.label for source in sources} - {""})
    classes = config.data.labels.classes or found
    shapes = assign_shapes(len(classes), config.bias.shapes)
    index = {name: k for k, name in enumerate(classes)}
    return [
        replace(source, shape=choose_shape(index[source.row.label], "biased", shapes))
        if source.row.label in index
        else source
        for source in sources
    ]


def trains_with_shapes(bias: Bias) -> bool:
    """Whether training images get a shape per class."""
    return bias.kind == "shapes" and bias.train


def extract_features(
    sources: Sequence[ImageSource], config: Config, context: RunContext
) -> list[ImageFeatures]:
    """Examines the images, in order; those that cannot be read are left out."""
    tasks = [_Task(source, config) for source in sources]
    workers = worker_count(config.machine.workers, len(tasks), least=1)
    found: list[ImageFeatures | None] = [None] * len(tasks)
    done = run_tasks(
        _extract_one, tasks, workers,
        budget=make_budget(config.limits), stop=context.stop_requested,
    )  # fmt: skip
    for index, features in context.progress.track(done, "examining images", len(tasks)):
        found[index] = None if isinstance(features, Lost) else features
    if context.stop_requested():
        raise KeyboardInterrupt
    return [features for features in found if features is not None]


def _extract_one(task: _Task) -> ImageFeatures | None:
    """One image's features; None when it cannot be read."""
    source, config = task.source, task.config
    try:
        pixels = _load_pixels(source, config)
    except (UnreadableImage, IsnetError):
        return None
    code = hash_image(pixels)
    mask = _load_mask(source, pixels.shape, config)
    if mask is None:
        return ImageFeatures(source.row, code)
    kept = (source.row.height, source.row.width)
    height, width = config.model.input
    frame = Frame(kept if source.kept else (pixels.shape[0], pixels.shape[1]), (height, width))
    image, lungs = frame.to_network(pixels), frame.mask_to_network(mask)
    if not lungs.any() or lungs.all():
        return ImageFeatures(source.row, code)
    image = standardise(image, lungs, frame.inner, config.model.standardise)
    if source.shape:
        bias = config.bias
        rng = make_rng(source.row.key, config.seed)
        image = draw_shape(
            image, lungs, source.shape, size=bias.size, intensity=bias.intensity, rng=rng
        )
    return ImageFeatures(
        source.row, code, describe_background(image, lungs), describe_lungs(image, lungs)
    )


def _load_pixels(source: ImageSource, config: Config) -> NDArray[np.float32]:
    if source.kept:
        return load_image(source.image)
    image = read_images(source.image, config.data.dicom, config.data.scale, config.limits)[0]
    fault = check_sanity(image, config.data.view)
    if fault is not None:
        raise fault
    return image.pixels


def _load_mask(
    source: ImageSource, shape: tuple[int, ...], config: Config
) -> NDArray[np.bool_] | None:
    """The image's mask; None when there is none that fits."""
    if not source.mask:
        return None
    try:
        mask = load_mask(source.mask, config.limits)
    except UnreadableImage:
        return None
    size = (source.row.height, source.row.width) if source.kept else shape
    return mask if mask.shape == size else None
