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
_BLOCK = 2048  # images compared with so many others at a time
EXACT = 10_000  # images up to which each is compared with each
# Beyond, two images are compared when they agree in all bits of one of `TABLES` random choices of
# `CHOSEN` bits. A pair of d differing bits is missed with the chance (1 - (1 - d/255)^24)^200:
# 0.5 % of d = 36, 0.01 % of d = 31, less than 1e-7 of d = 20.
CHOSEN, TABLES = 24, 200
_SEED = 0
_PAIRS = 2**16  # compared at a time

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

    Of more than `EXACT` images those are compared that an index finds alike, which takes about as
    much longer as there are more images (Indyk and Motwani, "Approximate nearest neighbors", STOC
    1998: bit sampling).

    Args:
        hashes: [N, `BITS`].
        limit: Largest number of bits that may differ.

    Yields:
        (i, j, differing bits) with i < j, in order of i, then j.
    """
    if len(hashes) > EXACT:
        yield from _look_up(hashes, limit)
        return
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    bits = signs.shape[1]
    for start in range(0, len(signs), _BLOCK):
        found = []
        for other in range(start, len(signs), _BLOCK):
            products = signs[start : start + _BLOCK] @ signs[other : other + _BLOCK].T
            alike = np.argwhere(products >= bits - 2 * limit)
            found += [
                (int(start + i), int(other + j), round(float(bits - products[i, j]) / 2))
                for i, j in alike
                if start + i < other + j
            ]
        yield from sorted(found)


def _look_up(hashes: NDArray[np.bool_], limit: int) -> Iterator[tuple[int, int, int]]:
    """As `find_near_duplicates`, by an index."""
    rng, found = np.random.default_rng(_SEED), dict[tuple[int, int], int]()
    powers = 1 << np.arange(CHOSEN, dtype=np.int64)
    for _ in range(TABLES):
        chosen = rng.choice(hashes.shape[1], CHOSEN, replace=False)
        keys = hashes[:, chosen] @ powers
        order = np.argsort(keys, kind="stable")
        sorted_keys, step = keys[order], 1
        while (alike := np.flatnonzero(sorted_keys[step:] == sorted_keys[:-step])).size:
            for part in np.array_split(alike, -(-alike.size // _PAIRS)):
                i, j = order[part], order[part + step]
                apart = (hashes[i] != hashes[j]).sum(axis=1)
                for k in np.flatnonzero(apart <= limit):
                    a, b = sorted((int(i[k]), int(j[k])))
                    found[a, b] = int(apart[k])
            step += 1
    for (a, b), bits in sorted(found.items()):
        yield a, b, bits
