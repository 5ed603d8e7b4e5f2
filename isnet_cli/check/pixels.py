"""What `isnet check` takes from pixels: for each image a hash, and what probes are shown of it.

Images come from a run that has read them already, or from the input files; masks from the run, or
from given files. Nothing is written. Works in processes, so nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isnet_cli.check.near_duplicates import Hash, image_hash
from isnet_cli.check.thumbnails import background_view, lung_view
from isnet_cli.config.schema import Bias, Config
from isnet_cli.core.files import read_csv
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.runtime import derive_seed
from isnet_cli.core.workers import run_tasks, worker_count
from isnet_cli.dataset.standardise import standardise
from isnet_cli.dataset.synthetic_marks import assign_shapes, choose_shape, draw_shape, make_rng
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.images.kept import load_image
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.read import read_images
from isnet_cli.images.resize import Frame
from isnet_cli.images.sanity import implausible
from isnet_cli.images.types import Row


@dataclass(frozen=True)
class Glance:
    """One image to look at.

    Attributes:
        row: Its manifest line.
        image: The file: a kept image of a run, or the input file.
        kept: Whether it is a kept image.
        mask: Mask file or two joined by ``|``; empty when there is none.
        shape: Shape drawn into its background as in training; empty for none.
    """

    row: Row
    image: Path
    kept: bool
    mask: str
    shape: str = ""


@dataclass(frozen=True)
class Look:
    """What was seen of one image.

    Attributes:
        row: Its manifest line.
        hash: `image_hash`.
        background: `background_view` at the network's size, or None without a mask.
        lungs: `lung_view`, or None without a mask.
    """

    row: Row
    hash: Hash
    background: NDArray[np.float32] | None = None
    lungs: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Task:
    glance: Glance
    config: Config


def glances_of_run(run: RunFolder, config: Config) -> list[Glance]:
    """The usable images of a run whose ingest stage is finished, with the masks that it trusts.

    Without a finished masks stage, given mask files are used.
    """
    ingest, masks = run.stage_dir("ingest"), run.stage_dir("masks")
    rows = [row for row in read_manifest(ingest / "manifest.csv") if row.status == "ok"]
    given = {row.key: row.mask_file for row in rows}
    if run.stage_record("masks") is not None:
        good = {"ok", "suspect"} if config.masks.on_suspect == "keep" else {"ok"}
        verdicts = {line["key"]: line["verdict"] for line in read_csv(masks / "qc.csv")}
        given = {
            row.key: str(masks / f"{row.key}.png") if verdicts.get(row.key) in good else ""
            for row in rows
        }
    return [Glance(row, ingest / row.image_file, True, given[row.key]) for row in rows]


def choose(glances: Sequence[Glance], limit: int, seed: int) -> list[Glance]:
    """At most `limit` images, drawn by the seed, in their order."""
    if len(glances) <= limit:
        return list(glances)
    rng = np.random.default_rng(derive_seed(seed, "audit"))
    chosen = np.sort(rng.choice(len(glances), limit, replace=False))
    return [glances[i] for i in chosen.tolist()]


def with_shapes(glances: Sequence[Glance], config: Config) -> list[Glance]:
    """With the shape of its class for each labelled image, when training images get shapes."""
    if not shapes_in_training(config.bias):
        return list(glances)
    found = sorted({glance.row.label for glance in glances} - {""})
    classes = config.data.labels.classes or found
    shapes = assign_shapes(len(classes), config.bias.shapes)
    index = {name: k for k, name in enumerate(classes)}
    return [
        Glance(g.row, g.image, g.kept, g.mask, choose_shape(index[g.row.label], "biased", shapes))
        if g.row.label in index
        else g
        for g in glances
    ]


def shapes_in_training(bias: Bias) -> bool:
    """Whether training images get a shape per class."""
    return bias.kind == "shapes" and bias.train


def look_at(glances: Sequence[Glance], config: Config, context: RunContext) -> list[Look]:
    """Looks at the images, in order; those that cannot be read are left out."""
    tasks = [_Task(glance, config) for glance in glances]
    workers = worker_count(config.machine.workers, len(tasks))
    found: list[Look | None] = [None] * len(tasks)
    done = run_tasks(_look, tasks, workers)
    for index, look in context.progress.track(done, "looking at images", len(tasks)):
        found[index] = look
    return [look for look in found if look is not None]


def _look(task: _Task) -> Look | None:
    """One image's look; None when it cannot be read."""
    glance, config = task.glance, task.config
    try:
        pixels = _pixels(glance, config)
    except (UnreadableImage, IsnetError):
        return None
    code = image_hash(pixels)
    mask = _mask(glance, pixels.shape)
    if mask is None:
        return Look(glance.row, code)
    kept = (glance.row.height, glance.row.width)
    height, width = config.model.input
    frame = Frame(kept if glance.kept else (pixels.shape[0], pixels.shape[1]), (height, width))
    image, lungs = frame.to_network(pixels), frame.mask_to_network(mask)
    if not lungs.any() or lungs.all():
        return Look(glance.row, code)
    image = standardise(image, lungs, frame.inner, config.model.standardise)
    if glance.shape:
        bias = config.bias
        rng = make_rng(glance.row.key, config.seed)
        image = draw_shape(
            image, lungs, glance.shape, size=bias.size, intensity=bias.intensity, rng=rng
        )
    return Look(glance.row, code, background_view(image, lungs), lung_view(image, lungs))


def _pixels(glance: Glance, config: Config) -> NDArray[np.float32]:
    if glance.kept:
        return load_image(glance.image)
    image = read_images(glance.image, config.data.dicom, config.data.scale)[0]
    fault = implausible(image, config.data.view)
    if fault is not None:
        raise fault
    return image.pixels


def _mask(glance: Glance, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """The image's mask; None when there is none that fits."""
    if not glance.mask:
        return None
    try:
        mask = load_mask(glance.mask)
    except UnreadableImage:
        return None
    size = (glance.row.height, glance.row.width) if glance.kept else shape
    return mask if mask.shape == size else None
