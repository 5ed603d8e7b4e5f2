"""Images and masks of a segmenter's training: read once, kept small, split by patient."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Limits
from isnet_cli.config.segmenter import Pairs
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.workers import describe_loss, make_budget, run_tasks, worker_count
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.guard.worker import Lost
from isnet_cli.images.read import read_images
from isnet_cli.images.resize import Frame
from isnet_cli.masks.segmenter.pairs import UNLABELLED, Pair, is_unlabelled, read_mask
from isnet_cli.phantoms.phantom import make_phantoms

SIZE = (256, 256)  # of isnet_models.lung_unet, which loads torch: worker processes need none
Part = Literal["train", "validation", "held_out"]
PHANTOM = "phantom"  # how names and sources of phantoms begin
PHANTOM_SEED = 1_000_003  # of no demonstration and no test
LEAST = 2  # images that can be trained with


@dataclass(frozen=True)
class Example:
    """One image with its mask on the network's pixels.

    Attributes:
        pair: Where they come from.
        size: Height and width of the image, px.
        image: [256, 256] float16, 0 to 1.
        share: [256, 256] uint8, share of lung per pixel times 255.
        part: What the image is for.
    """

    pair: Pair
    size: tuple[int, int]
    image: NDArray[np.float16]
    share: NDArray[np.uint8]
    part: Part = "train"


@dataclass(frozen=True)
class _Task:
    """One image with its mask, how it is read, and what it may take."""

    pair: Pair
    data: Pairs
    limits: Limits


Small = tuple[tuple[int, int], NDArray[np.float16], NDArray[np.uint8]]  # as `Example` has them


def read_examples(
    pairs: Sequence[Pair],
    data: Pairs,
    context: RunContext,
    limits: Limits | None = None,
    workers: int | None = None,
) -> tuple[list[Example], list[dict[str, str]]]:
    """Every image that can be used with its mask, and a row of the skipped list for every other.

    Args:
        pairs: The images.
        data: How they are read.
        context: Side effects.
        limits: What a file may be and take; None: the defaults.
        workers: As ``machine.workers``.
    """
    limits = limits or Limits()
    tasks = [_Task(pair, data, limits) for pair in pairs]
    done = run_tasks(
        _read_small, tasks, worker_count(workers, len(tasks), least=1),
        budget=make_budget(limits), stop=context.stop_requested,
    )  # fmt: skip
    found: dict[int, Example] = {}
    lost: dict[int, dict[str, str]] = {}
    for index, small in context.progress.track(done, "reading images", len(tasks)):
        pair = pairs[index]
        if isinstance(small, UnreadableImage):
            lost[index] = _skip(pair, small.reason, str(small))
        elif isinstance(small, Lost):
            lost[index] = _skip(pair, *describe_loss(small, limits))
        else:
            found[index] = Example(pair, *small)
    return [found[i] for i in sorted(found)], [lost[i] for i in sorted(lost)]


def _skip(pair: Pair, reason: str, detail: str) -> dict[str, str]:
    return {"image": pair.name, "reason": reason, "detail": detail}


def _read_small(task: _Task) -> Small | UnreadableImage:
    """Runs in worker processes."""
    try:
        example = _example(task.pair, *read_pair(task.pair, task.data, task.limits))
    except UnreadableImage as fault:
        if isinstance(fault.__cause__, MemoryError):
            raise fault.__cause__ from None
        return fault
    return example.size, example.image, example.share


def read_pair(
    pair: Pair, data: Pairs, limits: Limits | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The image [H, W], 0 to 1, and its mask [H, W]; an empty one where a teacher makes it.

    Raises:
        UnreadableImage: One of them cannot be read, or they do not fit each other.
    """
    images = read_images(pair.image, data.dicom, data.scale, limits)
    if len(images) > 1:
        raise UnreadableImage("mask_size", f"{len(images)} frames for one mask, expected one")
    (image,) = images
    if is_unlabelled(pair):
        return image.pixels, np.zeros(image.pixels.shape, bool)
    mask = read_mask(pair, limits)
    if image.pixels.shape != mask.shape:
        raise UnreadableImage(
            "mask_size",
            f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels, expected the image's"
            f" {image.pixels.shape[1]} x {image.pixels.shape[0]}",
        )
    return image.pixels, mask


def make_phantom_examples(count: int) -> Iterator[Example]:
    """Chest phantoms with their exact masks; each hospital is a source of its own."""
    for phantom in make_phantoms(count, PHANTOM_SEED):
        name = f"{PHANTOM}_{phantom.patient}"
        pair = Pair(name, Path(), "", name, f"{PHANTOM}-{phantom.hospital}")
        yield _example(pair, phantom.pixels, phantom.lungs)


def make_phantom_pairs(count: int) -> dict[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """X-ray and mask of each phantom at their own size, by name."""
    return {
        f"{PHANTOM}_{phantom.patient}": (phantom.pixels, phantom.lungs)
        for phantom in make_phantoms(count, PHANTOM_SEED)
    }


def is_phantom(pair: Pair) -> bool:
    """Whether an image is a phantom."""
    return pair.source.startswith(f"{PHANTOM}-")


def _example(pair: Pair, pixels: NDArray[np.float32], mask: NDArray[np.bool_]) -> Example:
    height, width = pixels.shape
    frame = Frame((height, width), SIZE)
    share = np.rint(frame.to_network(mask.astype(np.float32)) * 255).astype(np.uint8)
    return Example(pair, (height, width), frame.to_network(pixels).astype(np.float16), share)


def split_by_patient(examples: Sequence[Example], data: Pairs, seed: int) -> list[Example]:
    """The examples with their parts: patients never meet in two parts.

    The patients of each source stand in an order that depends on the seed and their own id alone;
    the first of them are held out, the first of the rest (of another order) validate. Phantoms do
    not validate.

    Raises:
        IsnetError: Kind "data": too few images are left to train with, or none to validate with.
    """
    if not examples:
        raise IsnetError(
            "data",
            "no image can be used with its mask",
            fix="see skipped.csv; name each mask like its image and make it as large",
        )
    held, tuning = set[str](), set[str]()
    real = [e for e in examples if not is_phantom(e.pair)]
    for source, groups in _groups(examples).items():
        order = _shuffled(groups, f"{seed}/")
        whole = source in data.held_out_sources
        held.update(order if whole else order[: round(data.held_out * len(order))])
    for groups in _groups(real).values():
        order = [g for g in _shuffled(groups, f"{seed}/validation/") if g not in held]
        wanted = data.validation * len(groups)
        tuning.update(order[: max(1, round(wanted)) if wanted and len(order) > 1 else 0])
    split = [
        replace(e, part="held_out" if e.pair.patient in held
                else "validation" if e.pair.patient in tuning else "train")
        for e in examples
    ]  # fmt: skip
    training = sum(e.part == "train" for e in split)
    if training < LEAST or (data.validation and not tuning):
        raise IsnetError(
            "data",
            f"{len(examples)} images that can be used: {training} for training and {len(tuning)}"
            f" patients for validation, expected at least {LEAST} and 1",
            fix="more images, or smaller data.held_out and data.validation",
        )
    return split


def _groups(examples: Sequence[Example]) -> dict[str, set[str]]:
    """Patients of each source."""
    sources = sorted({e.pair.source for e in examples})
    return {s: {e.pair.patient for e in examples if e.pair.source == s} for s in sources}


def _shuffled(groups: set[str], salt: str) -> list[str]:
    return sorted(groups, key=lambda g: (hashlib.sha256(f"{salt}{g}".encode()).hexdigest(), g))


def weigh_images(
    sources: Sequence[str], phantom_share: float, unlabelled_share: float = 0.0
) -> NDArray[np.float64]:
    """Chance of each image [N]: small sources are chosen more often, by the root of their size.

    Args:
        sources: Source of each image.
        phantom_share: Chance of all phantoms together, where there are any besides real images.
        unlabelled_share: Likewise, of all images with a teacher's masks.
    """
    counts = Counter(sources)
    weights = np.array([1 / math.sqrt(counts[source]) for source in sources])
    shares = {f"{PHANTOM}-": phantom_share, UNLABELLED: unlabelled_share}
    kinds = np.array([next((k for k in shares if s.startswith(k)), "") for s in sources])
    there = {kind: share for kind, share in shares.items() if kind in kinds}
    if "" in kinds:
        there[""] = 1 - sum(there.values())
    for kind, share in there.items() if len(there) > 1 else ():
        weights[kinds == kind] *= share / weights[kinds == kind].sum()
    result: NDArray[np.float64] = weights / weights.sum()
    return result
