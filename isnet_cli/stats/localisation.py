"""Whether relevance maps show a known finding: pointing game, share on the finding, sameness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

NO_FINDING = "no finding is marked in this image"
NO_RELEVANCE = "the map has no positive relevance"
NOT_FINITE = "the map holds NaN or infinity"
BLUR, SLACK, SIDE = 1.0, 2, 96  # px at maps of `SIDE` px

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Localisation:
    """Where the positive relevance of each map lies; arrays are [N], NaN where `why` says so.

    Attributes:
        hit: 1 where the strongest place lies on the finding, else 0 (the pointing game).
        inside_share: Positive relevance on the finding / all positive relevance, 0 to 1.
        chance: Area of the finding, with its slack, inside the lungs / area of the lungs: how often
            a place drawn at random from the lungs hits. Without lungs, those of the whole image.
        area: The same without slack: the share that a map even over the lungs has on the finding.
        why: Reason for each NaN, "" where there is a value.
    """

    hit: _Floats
    inside_share: _Floats
    chance: _Floats
    area: _Floats
    why: NDArray[np.str_]


def scale_tolerance(size: tuple[int, int]) -> tuple[float, int]:
    """`BLUR` and `SLACK` for maps of another size (height, width): the same share of the image."""
    scale = min(size) / SIDE
    return BLUR * scale, round(SLACK * scale)


def measure_localisation(
    maps: ArrayLike,
    findings: ArrayLike,
    lungs: ArrayLike | None = None,
    *,
    blur: float = BLUR,
    slack: int = SLACK,
) -> Localisation:
    """Measures signed maps against the true place of what they should show.

    The map is summed over its channels. The strongest place is the largest value of the positive
    relevance after a Gaussian blur; it may miss the finding by `slack`. The share is taken without
    blur and without slack.

    Args:
        maps: Signed relevance for the finding's class [N, H, W] or [N, C, H, W].
        findings: Where the finding is, not 0 [N, H, W].
        lungs: Lungs, not 0 [N, H, W]; for `chance` alone.
        blur: Standard deviation of the blur, px, >= 0.
        slack: How far the strongest place may lie from the finding, px, >= 0.

    Returns:
        One figure for each image.

    Raises:
        ValueError: Shapes that do not belong together, or a negative blur or slack.

    Source:
        Zhang et al., "Top-down neural attention by excitation backprop", IJCV 126:1084 (2018), for
        the pointing game; Wang et al., "Score-CAM", CVPR Workshops (2020), for the share (the
        energy-based pointing game).
    """
    R = np.asarray(maps, np.float64)
    marked: NDArray[np.bool_] = np.asarray(findings, bool)
    if R.ndim == 4:
        R = R.sum(axis=1)
    field: NDArray[np.bool_] = np.asarray(np.ones(marked.shape) if lungs is None else lungs, bool)
    if R.ndim != 3 or R.shape != marked.shape or field.shape != marked.shape:
        raise ValueError(
            f"maps {list(R.shape)}, findings {list(marked.shape)}, lungs {list(field.shape)} do "
            "not match"
        )
    if blur < 0 or slack < 0:
        raise ValueError(f"blur {blur:g}, slack {slack}: must not be negative")
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(R).all(axis=(1, 2)))
    positive = np.where(finite[:, None, None], R, 0.0).clip(min=0)
    total = positive.sum(axis=(1, 2))
    why = np.select(
        [~marked.any(axis=(1, 2)), ~finite, total == 0],
        [NO_FINDING, NOT_FINITE, NO_RELEVANCE], default="",
    )  # fmt: skip
    hit, share, chance, area = (np.full(len(R), np.nan) for _ in range(4))
    for i in np.flatnonzero(why == ""):
        near = _grow(marked[i], slack)
        smooth = ndimage.gaussian_filter(positive[i], blur)
        hit[i] = near.flat[int(smooth.argmax())]
        share[i] = positive[i][marked[i]].sum() / total[i]
        if field[i].any():
            chance[i], area[i] = near[field[i]].mean(), marked[i][field[i]].mean()
    return Localisation(hit, share, chance, area, why)


def _grow(mask: NDArray[np.bool_], slack: int) -> NDArray[np.bool_]:
    """The mask and all pixels up to `slack` away from it."""
    if not slack:
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) <= slack)


def measure_sameness(maps: ArrayLike) -> float:
    """How alike the maps of different images are, -1 to 1: 1 where all maps are the same.

    The mean, over the images, of the correlation of a map's magnitude with the mean magnitude of
    all maps. Maps of one value everywhere, or with values that are not finite, are left out.

    Args:
        maps: Relevance [N, H, W] or [N, C, H, W]; magnitudes are summed over channels.

    Returns:
        The mean; NaN with fewer than two maps.
    """
    A = np.abs(np.asarray(maps, np.float64))
    A = A.sum(axis=1) if A.ndim == 4 else A
    flat = A.reshape(len(A), -1)
    flat = flat[np.isfinite(flat).all(axis=1)]
    flat = flat[flat.std(axis=1) > 0]
    if len(flat) < 2:
        return float("nan")
    mean = flat.mean(axis=0)
    if not mean.std() > 0:
        return float("nan")
    return float(np.mean([np.corrcoef(one, mean)[0, 1] for one in flat]))


def average(values: Sequence[float] | _Floats) -> float | None:
    """Mean of the values that are no NaN; None where there is none."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else None
