"""Synthetic background bias: a shape or a word per class, outside the lungs.

Source: the synthetic-bias protocol of Bassi et al., "Improving deep neural network generalization
and robustness to background bias via layer-wise relevance propagation optimization" (2024).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from isnet_cli.errors import IsnetError

SHAPES: tuple[str, ...] = ("triangle", "circle", "square", "cross", "diamond", "ring")
TEXT_PREFIX = "text:"  # "text:PORTABLE" stamps the word PORTABLE
TEXT_HEIGHT = 0.6  # of a shape's side: a word as high as a shape would fill the image's width
RIM = 0.15  # of a shape's side: a black rim keeps the shape visible on bright tissue
_OVERSAMPLING = 8
_TRIES = 3  # free places compared; the one nearest to a corner is taken


def assign_shapes(classes: int, chosen: Sequence[str] | None) -> tuple[str, ...]:
    """One shape per class, in the order of the classes.

    Args:
        classes: Number of classes, at least 2.
        chosen: Shapes of the configuration; None takes the first of `SHAPES`.

    Raises:
        IsnetError: Kind "config", when there are too few shapes or one appears twice.
    """
    shapes = tuple(chosen) if chosen else SHAPES
    if len(shapes) < classes:
        raise IsnetError(
            "config",
            f"bias.shapes: {len(shapes)} shapes for {classes} classes, expected one per class",
            fix="bias.shapes: " + ", ".join((*SHAPES, "text:WORD")),
        )
    if len(set(shapes[:classes])) < classes:
        raise IsnetError(
            "config",
            f"bias.shapes: {', '.join(shapes[:classes])}: a shape appears twice, expected all "
            "different",
            fix="give each class a shape of its own",
        )
    return shapes[:classes]


def choose_shape(label: int, version: Literal["biased", "deceiving"], shapes: Sequence[str]) -> str:
    """The shape for an image of class `label`.

    Args:
        label: Class index, 0 to ``len(shapes) - 1``.
        version: ``biased``: the class's own; ``deceiving``: the next class's, none keeps its own.
        shapes: One shape per class (`assign_shapes`).
    """
    if not 0 <= label < len(shapes):
        raise ValueError(f"class index {label} for {len(shapes)} shapes")
    return shapes[label if version == "biased" else (label + 1) % len(shapes)]


def make_rng(key: str, seed: int) -> np.random.Generator:
    """A generator that depends on `key` and `seed` alone, in every process and on every machine."""
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def draw_shape(
    image: NDArray[np.float32],
    lungs: NDArray[np.bool_],
    shape: str,
    *,
    size: float,
    intensity: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """A copy of `image` with `shape`, in a black rim, at a random place of the background.

    The place is chosen among those that hide the fewest lung pixels (none, where possible), nearer
    to a corner with more chance.

    Args:
        image: [h, w], 0 to 1.
        lungs: [h, w], true inside the lungs.
        shape: One of `SHAPES`, or ``text:WORD``.
        size: Side of the shape as a share of the image's shorter side (a word is 0.6 as high).
        intensity: Grey level of the shape, 0 to 1.
        rng: Source of the place; see `make_rng`.

    Returns:
        [h, w] float32, 0 to 1.
    """
    side = find_side(image.shape, size)
    stamp, cover = cut_stamp(shape, side, image.shape)
    height, width = stamp.shape
    top, left = place_shape(lungs, shape, side, rng)
    out = np.array(image, np.float32)
    area = out[top : top + height, left : left + width]
    area *= 1 - cover
    area += stamp * np.float32(intensity)
    return out


def find_side(shape: tuple[int, ...], size: float) -> int:
    """Side of a mark in px on an image of `shape` [h, w], of which it is the share `size`."""
    return max(4, round(size * min(shape)))


def cut_stamp(
    shape: str, side: int, limit: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a mark covers with its grey level, and what it covers with its rim, each [a, b].

    Args:
        shape: One of `SHAPES`, or ``text:WORD``.
        side: As `find_side` gives it.
        limit: Rows and columns that the mark may take.
    """
    stamp, cover = _rimmed(shape, side)
    return stamp[: limit[0], : limit[1]], cover[: limit[0], : limit[1]]


def place_shape(
    lungs: NDArray[np.bool_], shape: str, side: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Top left corner at which `draw_shape` draws.

    Args:
        lungs: [h, w].
        shape: As in `cut_stamp`.
        side: See there.
        rng: As in `draw_shape`.
    """
    height, width = cut_stamp(shape, side, lungs.shape)[0].shape
    return _place(lungs, height, width, rng)


@functools.lru_cache(maxsize=64)
def _rimmed(shape: str, side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The shape's coverage with room for the rim, and the coverage of shape and rim together."""
    rim = max(1, round(RIM * side))
    stamp = np.pad(render_shape(shape, side), rim)
    grown = Image.fromarray(np.rint(stamp * 255).astype(np.uint8))
    grown = grown.filter(ImageFilter.MaxFilter(2 * rim + 1))
    cover = np.maximum(np.asarray(grown, np.float32) / np.float32(255), stamp)
    for tile in (stamp, cover):
        tile.setflags(write=False)
    return stamp, cover


@functools.lru_cache(maxsize=64)
def render_shape(shape: str, side: int) -> NDArray[np.float32]:
    """Coverage, 0 to 1, of a filled antialiased shape in a [side, side] tile, or of a word.

    Raises:
        ValueError: When `shape` is neither one of `SHAPES` nor ``text:WORD``.
    """
    if shape.startswith(TEXT_PREFIX):
        tile = _word(shape.removeprefix(TEXT_PREFIX), max(7, round(side * TEXT_HEIGHT)))
    elif shape in SHAPES:
        tile = _figure(shape, side)
    else:
        raise ValueError(f"unknown shape {shape!r}, expected one of {SHAPES} or text:WORD")
    tile.setflags(write=False)
    return tile


def _figure(shape: str, side: int) -> NDArray[np.float32]:
    n = side * _OVERSAMPLING
    image = Image.new("L", (n, n), 0)
    draw = ImageDraw.Draw(image)
    last = n - 1
    if shape == "triangle":
        draw.polygon([(n / 2, 0), (last, last), (0, last)], fill=255)
    elif shape == "circle":
        draw.ellipse([0, 0, last, last], fill=255)
    elif shape == "square":
        margin = n * 0.06  # about the area of the circle
        draw.rectangle([margin, margin, last - margin, last - margin], fill=255)
    elif shape == "cross":
        low, high = n * 0.34, n * 0.66
        draw.rectangle([low, 0, high, last], fill=255)
        draw.rectangle([0, low, last, high], fill=255)
    elif shape == "diamond":
        draw.polygon([(n / 2, 0), (last, n / 2), (n / 2, last), (0, n / 2)], fill=255)
    else:
        draw.ellipse([0, 0, last, last], fill=255)
        draw.ellipse([n * 0.3, n * 0.3, n * 0.7, n * 0.7], fill=0)
    return _shrink(image, (side, side))


def _word(word: str, height: int) -> NDArray[np.float32]:
    font = ImageFont.load_default(size=height * _OVERSAMPLING)
    left, top, right, bottom = font.getbbox(word)
    image = Image.new("L", (max(1, round(right - left)), max(1, round(bottom - top))), 0)
    ImageDraw.Draw(image).text((-left, -top), word, fill=255, font=font)
    return _shrink(image, (max(1, round(image.width * height / image.height)), height))


def _shrink(image: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32) / np.float32(255)


def _place(
    lungs: NDArray[np.bool_], height: int, width: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Top left corner of a [height, width] tile that hides the fewest lung pixels."""
    h, w = lungs.shape
    margin = max(0, min(h // 64, (h - height) // 2, (w - width) // 2))
    sums = np.zeros((h + 1, w + 1), np.int32)
    np.cumsum(np.cumsum(lungs, axis=0, dtype=np.int32), axis=1, out=sums[1:, 1:])
    hidden = (
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
        + sums[:-height, :-width]
    )  # fmt: skip
    inner = hidden[margin : hidden.shape[0] - margin, margin : hidden.shape[1] - margin]
    free = np.flatnonzero(inner == inner.min())
    tops, lefts = np.divmod(free[rng.integers(len(free), size=_TRIES)], inner.shape[1])
    rows, columns = inner.shape
    away = (
        np.minimum(tops, rows - 1 - tops) / rows + np.minimum(lefts, columns - 1 - lefts) / columns
    )
    best = int(np.argmin(away))
    return int(tops[best]) + margin, int(lefts[best]) + margin
