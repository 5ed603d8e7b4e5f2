"""Sanity checks of maps as arrays: how alike two maps are, and curves of deletion and insertion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, stats

from isnet_cli.stats.bootstrap import bootstrap_weights, percentile_interval
from isnet_cli.stats.intervals import empty_cell

SIGMA, WINDOW = 1.5, 11  # px: standard deviation and side of the window of `compare_structure`
CONSTANTS = (0.01, 0.03)  # K1 and K2 there
CELLS = 32  # about so many cells along the shorter side are removed one by one
ONE_PATIENT = "all images are of one patient"

_Floats = NDArray[np.float64]


def compare_ranks(left: ArrayLike, right: ArrayLike) -> _Floats:
    """Spearman's rank correlation of the magnitudes of maps [N, H, W], [N].

    NaN where a map is the same everywhere or holds values that are not finite.
    """
    a, b = (np.abs(np.asarray(maps, np.float64)) for maps in (left, right))
    found = np.full(len(a), np.nan)
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if _is_map(x) and _is_map(y):
            ranks = stats.rankdata(x.ravel()), stats.rankdata(y.ravel())
            found[i] = np.corrcoef(*ranks)[0, 1]
    return found


def compare_structure(left: ArrayLike, right: ArrayLike) -> _Floats:
    """Structural similarity of the magnitudes of maps [N, H, W], each scaled to a maximum of 1.

    NaN as `compare_ranks`.

    Source: Wang et al., "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 13:600 (2004): Gaussian window of 11 px (1.5 px), K 0.01 and 0.03.
    """
    a, b = (np.abs(np.asarray(maps, np.float64)) for maps in (left, right))
    found = np.full(len(a), np.nan)
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if _is_map(x) and _is_map(y):
            found[i] = _structure(x / x.max(), y / y.max())
    return found


def _is_map(values: _Floats) -> bool:
    return bool(np.isfinite(values).all() and np.ptp(values) > 0)


def _structure(x: _Floats, y: _Floats) -> float:
    def blur(values: _Floats) -> _Floats:
        radius = WINDOW // 2
        return np.asarray(ndimage.gaussian_filter(values, SIGMA, radius=radius))

    c1, c2 = (k**2 for k in CONSTANTS)
    mx, my = blur(x), blur(y)
    vx, vy = blur(x * x) - mx * mx, blur(y * y) - my * my
    both = blur(x * y) - mx * my
    map_ = ((2 * mx * my + c1) * (2 * both + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(map_.mean())


def rank_cells(values: ArrayLike, inner: tuple[int, int, int, int]) -> _Floats:
    """When each pixel's turn comes if cells are taken by falling value.

    Cells are squares of about 1/`CELLS` of the image's shorter side, so that a random order is no
    finer than that of a map.

    Args:
        values: [h, w], one for each pixel of the network's input; a cell has their mean.
        inner: Where the image lies in the input: (top, left, height, width); the rest never comes.

    Returns:
        [h, w]: share of the cells that come before, 0 to below 1; 2 outside the image.
    """
    top, left, height, width = inner
    whole = np.asarray(values, np.float64)
    part = whole[top : top + height, left : left + width]
    side = max(1, min(height, width) // CELLS)
    rows, columns = np.arange(height) // side, np.arange(width) // side
    across = int(columns[-1]) + 1
    cells = rows[:, None] * across + columns[None]
    count = int(cells.max()) + 1
    means = np.bincount(cells.ravel(), part.ravel()) / np.bincount(cells.ravel())
    turns = np.empty(count)
    turns[np.argsort(-means, kind="stable")] = np.arange(count) / count
    found = np.full(whole.shape, 2.0)
    found[top : top + height, left : left + width] = turns[cells]
    return found


def measure_areas(curves: ArrayLike) -> _Floats:
    """Area below curves [..., S + 1] over shares 0, 1/S, ..., 1, by the trapezium rule."""
    p = np.asarray(curves, np.float64)
    return np.asarray((p[..., 1:] + p[..., :-1]).mean(axis=-1) / 2)


def mean_cell(
    values: Sequence[float] | _Floats, clusters: NDArray[np.int64], draws: int, seed: int
) -> dict[str, Any]:
    """Mean of the values that are no NaN, with the interval of a bootstrap by patient.

    Args:
        values: One for each image [N].
        clusters: Number of each image's patient [N].
        draws: Of the bootstrap.
        seed: Of the draws.

    Returns:
        A cell ``value``, ``low``, ``high``, ``method``, and ``n``; ``why`` where there is none.
    """
    x = np.asarray(values, np.float64)
    known = ~np.isnan(x)
    if not known.any():
        return {**empty_cell(None, "no map can be compared"), "n": 0}
    x = x[known]
    _, people = np.unique(clusters[known], return_inverse=True)
    patients, n = int(people.max()) + 1, len(x)
    if patients < 2:
        return {**empty_cell(float(x.mean()), ONE_PATIENT), "n": n}
    found = [w @ x / w.sum(axis=1) for w in bootstrap_weights(people, draws, seed)]
    low, high = percentile_interval(np.concatenate(found), patients)
    return {"value": float(x.mean()), "low": low, "high": high, "method": "bootstrap", "n": n}
