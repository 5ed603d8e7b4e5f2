"""Near-duplicates: images that look the same although their bytes differ.

Such are rescaled, recompressed and re-windowed copies. An image's hash holds the signs of its
lowest spatial frequencies against their median. Scaling all intensities, adding to them, resizing
and recompressing hardly change them; two different chest images differ in half of them. Source: the
DCT hash of Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010),
section 3.2, with 16 x 16 instead of 8 x 8 frequencies, since chest images resemble each other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from isnet_cli.images.resize import resize

SIDE = 64  # px; images are reduced to SIDE x SIDE, whatever their shape
FREQUENCIES = 16  # per axis; the constant term is left out
BITS = FREQUENCIES**2 - 1
# Of 1607 real images, pairs of different ones differ in 46 bits or more; copies that were halved,
# reduced to 160 px, coded as JPEG of quality 30, or changed in gain (1.2) or gamma (0.7) in 31 at
# most.
LIMIT = 36
_BLOCK = 2048  # images compared with all others at a time

Hash = NDArray[np.bool_]


def hash_image(pixels: NDArray[np.float32]) -> Hash:
    """Hash of an image [H, W], bool [`BITS`]; an image of one grey level gives all False."""
    small = resize(pixels, (SIDE, SIDE)).astype(np.float64)
    place = (np.arange(SIDE) + 0.5) / SIDE
    waves = np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * place[None])
    terms = (waves @ small @ waves.T).ravel()[1:]
    return np.asarray(terms > np.median(terms), np.bool_)


def find_near_duplicates(
    hashes: NDArray[np.bool_], limit: int = LIMIT
) -> Iterator[tuple[int, int, int]]:
    """Pairs of images that look the same.

    Args:
        hashes: [N, `BITS`].
        limit: Largest number of bits that may differ.

    Yields:
        (i, j, differing bits) with i < j, in order of i, then j.
    """
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    bits = signs.shape[1]
    for start in range(0, len(signs), _BLOCK):
        products = signs[start : start + _BLOCK] @ signs.T
        found = np.argwhere(products >= bits - 2 * limit)
        for i, j in found:
            if start + i < j:
                yield int(start + i), int(j), round(float(bits - products[i, j]) / 2)
