"""One annotated finding, and where it lies in the image at any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isnet_cli.annotations.coco import Box, Outlines, draw
from isnet_cli.config.schema import Config, Limits
from isnet_cli.core.workers import describe_loss, make_budget, run_tasks, worker_count
from isnet_cli.errors import UnreadableImage
from isnet_cli.guard.worker import Lost
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.resize import Frame, resize

Mask = NDArray[np.bool_]
COVERED = 0.5  # share of a pixel from which on it belongs to a finding
OTHER_SHAPE = 0.02  # relative difference of two aspect ratios that rounding does not explain


@dataclass(frozen=True)
class Finding:
    """What one row, mask or outline says; one of `box`, `mask` and `outlines` is given.

    Attributes:
        label: What it is, as written; empty when it is not said.
        box: Left, top, right, bottom in pixels of the original image; a pixel's outer corner is
            whole-numbered, the image begins at (0, 0).
        mask: Mask files as `Row.mask_file`, or empty.
        outlines: An outline of a COCO file, or None.
    """

    label: str = ""
    box: Box | None = None
    mask: str = ""
    outlines: Outlines | None = None


def draw_finding(
    finding: Finding, original: tuple[int, int], size: tuple[int, int], limits: Limits
) -> Mask:
    """The finding on the image at another size: the pixels that it covers by half or more.

    Where it covers none by half, the pixel that it covers most, so that a small finding is never
    lost; all False when the mask itself is empty.

    Args:
        finding: The finding.
        original: (height, width) of the original image, px.
        size: (height, width) of the result, px.
        limits: What a mask file may be.

    Returns:
        Array of `size`, bool.

    Raises:
        UnreadableImage: A reason that begins with ``mask_``: the mask cannot be read, or is not
            shaped like the image.
    """
    cover = _cover(finding, original, size, limits)
    found: Mask = np.asarray(cover >= COVERED)
    if found.any() or not cover.any():
        return found
    found.flat[int(cover.argmax())] = True
    return found


def place_in_network(mask: Mask, frame: Frame) -> Mask:
    """A mask of the image's part of the network's input, padded to the whole input [h, w]."""
    top, left, height, width = frame.inner
    whole = np.zeros(frame.network, np.bool_)
    whole[top : top + height, left : left + width] = mask
    return whole


@dataclass(frozen=True)
class Drawing:
    """A finding to draw: the arguments of `draw_finding`."""

    finding: Finding
    original: tuple[int, int]
    size: tuple[int, int]
    limits: Limits


def draw_all(
    drawings: Sequence[Drawing], config: Config, stop: Callable[[], bool] = lambda: False
) -> list[Mask | str] | None:
    """Draws findings; mask files are read in worker processes with a budget.

    Returns:
        For each the mask, or ``reason: sentence`` why there is none; None when a stop was asked
        for.
    """
    found: list[Mask | str] = [
        _try_drawing(one) if not one.finding.mask else "" for one in drawings
    ]
    files = [i for i, one in enumerate(drawings) if one.finding.mask]
    workers = worker_count(config.machine.workers, len(files), least=1)
    done, tasks = 0, [drawings[i] for i in files]
    budget = make_budget(config.limits)
    for place, result in run_tasks(_pack_drawing, tasks, workers, budget=budget, stop=stop):
        done += 1
        if isinstance(result, Lost):
            found[files[place]] = ": ".join(describe_loss(result, config.limits))
        elif isinstance(result, str):
            found[files[place]] = result
        else:
            size = tasks[place].size
            pixels = np.unpackbits(np.frombuffer(result, np.uint8), count=size[0] * size[1])
            found[files[place]] = pixels.reshape(size).astype(np.bool_)
    return found if done == len(files) else None


def _pack_drawing(drawing: Drawing) -> bytes | str:
    """A mask as bits, which pass between processes."""
    mask = _try_drawing(drawing)
    return mask if isinstance(mask, str) else np.packbits(mask).tobytes()


def _try_drawing(drawing: Drawing) -> Mask | str:
    try:
        return draw_finding(drawing.finding, drawing.original, drawing.size, drawing.limits)
    except UnreadableImage as fault:
        return f"{fault.reason}: {fault.detail}"


def _cover(
    finding: Finding, original: tuple[int, int], size: tuple[int, int], limits: Limits
) -> NDArray[np.float32]:
    """Share of each pixel that the finding covers, 0 to 1."""
    if finding.box is not None:
        left, top, right, bottom = finding.box
        rows = _cover_line(top, bottom, original[0], size[0])
        columns = _cover_line(left, right, original[1], size[1])
        return np.asarray(np.outer(rows, columns), np.float32)
    if finding.outlines is not None:
        mask = draw(finding.outlines, limits)
    else:
        mask = load_mask(finding.mask, limits)
    check_shape(mask.shape, original)
    return np.asarray(resize(mask.astype(np.float32), size))


def _cover_line(start: float, end: float, length: int, size: int) -> NDArray[np.float64]:
    """Share of each of `size` equal pieces of [0, length] that lies between start and end."""
    scale = size / length
    edges = np.arange(size + 1, dtype=np.float64)
    low = np.maximum(edges[:-1], start * scale)
    high = np.minimum(edges[1:], end * scale)
    return np.asarray((high - low).clip(min=0.0))


def check_shape(found: tuple[int, ...], original: tuple[int, int]) -> None:
    """Refuses the mask of a picture that cannot be this image at another size.

    Raises:
        UnreadableImage: ``mask_size``.
    """
    height, width = found[:2]
    ratio = math.log(width / height) - math.log(original[1] / original[0])
    slack = OTHER_SHAPE + 0.5 / min(found[:2])  # a small mask's sides are rounded
    if abs(ratio) > slack:
        raise UnreadableImage(
            "mask_size",
            f"an annotation of {width} x {height} pixels, expected the proportions of the image's"
            f" {original[1]} x {original[0]}",
        )
