"""Normalises images by their lungs: mean and spread, or the spectrum, become fixed values.

Constants were measured on 120 images of two hospitals (Shenzhen, Montgomery): white lies 3.9 and
4.2 standard deviations above the mean of the lungs, the darkest lung 2.4 and 1.6 below it, so that
`MEAN` and `SPREAD` put the lungs and all that is brighter into [0, 1]; 0.03 % of the lungs' pixels
are clipped, and 8 % of the image's, which are black air. `SPECTRUM` is the geometric
mean of the two hospitals' median images.

Source of the bands: Philipsen et al., "Localized Energy-Based Normalization of Medical Images",
IEEE Trans. Med. Imaging 34(9):1965 (2015). Ours differs: the scales follow the image's size, and
the coarsest part is scaled too, so that an image's gain and offset leave no trace.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Standard = Literal["none", "lungs", "bands"]

MEAN, SPREAD = 0.35, 0.15  # of the grey levels inside the lungs
FLAT = 1e-3  # a smaller standard deviation is no contrast, and is not enlarged
FEWEST = 16  # px: smaller masks say nothing
# Octave k is what a blur of shorter side / 2**(k + 1) keeps and one of side / 2**k loses.
SPECTRUM = {2: 0.251, 3: 0.434, 4: 0.333, 5: 0.209, 6: 0.152, 7: 0.104, 8: 0.077, 9: 0.06, 10: 0.05}
COARSEST, FINEST = 0.232, 0.15  # what is beyond the octaves; standard deviations in units of SPREAD
NARROWEST = 0.9  # px: no blur is narrower
ROUNDS, NEAR = 12, 0.1  # the bands overlap: they are scaled again until all are so near to theirs
LIMIT = 8.0  # of the gain of one band in one round, either way


def standardise(
    image: Floats, lungs: NDArray[np.bool_], inner: tuple[int, int, int, int], how: Standard
) -> Floats:
    """The image with the grey levels of its lungs at fixed values.

    Args:
        image: [h, w] in [0, 1].
        lungs: [h, w]; fewer than `FEWEST` pixels: the whole image stands for the lungs.
        inner: Where the image lies, (top, left, height, width); what is around it stays.
        how: ``lungs``: mean and standard deviation inside the lungs become `MEAN` and `SPREAD`;
            ``bands``: before that the standard deviations of its octaves become `SPECTRUM`;
            ``none``: nothing.

    Returns:
        [h, w], clipped to [0, 1].
    """
    if how == "none":
        return image
    top, left, height, width = inner
    part = (slice(top, top + height), slice(left, left + width))
    inside = lungs[part]
    if inside.sum() < FEWEST:
        inside = np.ones_like(inside)
    values = image[part]
    if how == "bands":
        values = scale_bands(values, inside)
    out = image.copy()
    out[part] = scale_levels(values, inside).clip(0, 1)
    return out


def scale_levels(image: Floats, lungs: NDArray[np.bool_]) -> Floats:
    """`image` [h, w], scaled and shifted to mean `MEAN` and s.d. `SPREAD` inside `lungs`."""
    mean, spread = _moments(image, lungs)
    gain = SPREAD / spread if spread >= FLAT else 1.0
    return np.asarray((image - np.float32(mean)) * np.float32(gain) + np.float32(MEAN), np.float32)


def scale_bands(image: Floats, lungs: NDArray[np.bool_]) -> Floats:
    """`image` [h, w] with octaves whose s.d. inside `lungs` are those of `SPECTRUM`.

    Octaves without contrast stay. The mean inside the lungs becomes 0.
    """
    out = scale_levels(image, lungs) - np.float32(MEAN)
    if _moments(image, lungs)[1] < FLAT:
        return out
    wanted = list_band_targets(min(image.shape))
    for _ in range(ROUNDS):
        bands = split_octaves(out)
        gains = []
        for band, target in zip(bands, wanted, strict=True):
            spread = _moments(band, lungs)[1]
            gain = target * SPREAD / spread if spread >= FLAT * SPREAD else 1.0
            gains.append(min(max(gain, 1 / LIMIT), LIMIT))
        out = np.asarray(sum(b * np.float32(g) for b, g in zip(bands, gains, strict=True)))
        out = out - np.float32(_moments(out, lungs)[0])
        if all(abs(gain - 1) <= NEAR for gain in gains):
            break
    return out


def split_octaves(image: Floats) -> list[Floats]:
    """Differences of Gaussian blurs of `image` [h, w], fine to coarse; their sum is the image."""
    found, before = [], image
    for k in _steps(min(image.shape)):
        after = _blurred(image, min(image.shape) / 2**k)
        found.append(before - after)
        before = after
    return [*found, before]


def list_band_targets(side: int) -> list[float]:
    """Wanted s.d. of the `split_octaves` of an image of this shorter side, in units of `SPREAD`."""
    return [FINEST, *(SPECTRUM[k] for k in _steps(side)[1:]), COARSEST]


def _steps(side: int) -> list[int]:
    """Octaves that the image has pixels for, fine to coarse; the coarsest at the least."""
    return [k for k in sorted(SPECTRUM, reverse=True) if side / 2**k >= NARROWEST or k == 2]


def _moments(values: Floats, lungs: NDArray[np.bool_]) -> tuple[float, float]:
    chosen = values[lungs].astype(np.float64)
    return float(chosen.mean()), float(chosen.std())


def _blurred(image: Floats, sigma: float) -> Floats:
    h, w = image.shape
    return np.asarray(_kernel(h, sigma) @ image @ _kernel(w, sigma).T, np.float32)


@lru_cache(maxsize=64)
def _kernel(size: int, sigma: float) -> Floats:
    """Gaussian blur of a line as a matrix [size, size]; beyond its ends the line is mirrored."""
    reach = int(np.ceil(4 * sigma))
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    places = (np.arange(size)[:, None] + steps[None]) % (2 * size)
    places = np.where(places < size, places, 2 * size - 1 - places)
    found = np.zeros((size, size))
    rows = np.broadcast_to(np.arange(size)[:, None], places.shape)
    np.add.at(found, (rows, places), np.broadcast_to(weights / weights.sum(), places.shape))
    return found.astype(np.float32)
