"""Kept images: grey PNG files without metadata, the form in which a run keeps X-rays.

They have 16 bits, or 8 where that loses nothing: images that came with 8 and were not reduced.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import open_regular
from isnet_cli.images.resize import resize

WHITE = 65535
_BYTE_WHITE = 255
_STEP = WHITE // _BYTE_WHITE  # levels of 16 bits between two of 8
_COMPRESSION = 1  # on radiographs level 3 takes half as long again for files 6 % smaller


def limit_size(pixels: NDArray[np.float32], max_side: int) -> NDArray[np.float32]:
    """Reduces [H, W] (antialiased) so that its longest side is at most `max_side`; never enlarges.

    Returns:
        Array [h, w], float32, 0 to 1; `pixels` itself when it is small enough.
    """
    height, width = pixels.shape
    longest = max(height, width)
    if longest <= max_side:
        return pixels
    scale = max_side / longest
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return np.clip(resize(pixels, size), 0.0, 1.0)


def save_image(path: Path, pixels: NDArray[np.float32]) -> None:
    """Writes [H, W] in [0, 1] as a grey PNG; the same pixels give the same bytes.

    The file holds no text, time or profile. The error of a pixel is at most 1/131070; pixels that
    are all multiples of 1/255 are kept exactly, with 8 bits.

    Raises:
        ValueError: `pixels` is not a finite two-dimensional array in [0, 1].
    """
    if pixels.ndim != 2 or not (float(pixels.min()) >= 0.0 and float(pixels.max()) <= 1.0):
        raise ValueError(f"{pixels.shape}: expected [H, W], finite, 0 to 1")
    levels = np.rint(pixels.astype(np.float64) * WHITE).astype(np.uint16)
    if not (levels % _STEP).any():  # half the file, twice as quick
        levels = (levels // _STEP).astype(np.uint8)
    Image.fromarray(levels).save(path, format="PNG", compress_level=_COMPRESSION)


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) of a kept image, px, from its header.

    Raises:
        IsnetError: As `load_image`.
    """
    with _open_kept(path) as image:
        return image.height, image.width


def load_image(path: Path) -> NDArray[np.float32]:
    """Reads a kept image as float32 [H, W], 0 to 1.

    Raises:
        IsnetError: Kind "data", when the file is missing, damaged, or not a grey PNG.
    """
    with _open_kept(path) as image:
        white = _BYTE_WHITE if image.mode == "L" else WHITE
        levels = np.asarray(image)
    return levels.astype(np.float32) / np.float32(white)


@contextlib.contextmanager
def _open_kept(path: Path) -> Iterator[Image.Image]:
    try:
        with open_regular(path) as file, Image.open(file, formats=("PNG",)) as image:
            if image.mode != "L" and not image.mode.startswith("I"):
                raise ValueError(f"a PNG of mode {image.mode}")
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else "not a kept image"
        raise IsnetError(
            "data",
            f"{path}: {found}, expected a grey PNG written by isnet ingest",
            fix="isnet ingest CONFIG",
        ) from error
