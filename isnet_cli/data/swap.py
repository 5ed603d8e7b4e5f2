"""Films with another film's background: what a model that looks at the lungs does not notice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d
from torchvision.transforms.v2.functional import gaussian_blur

CANDIDATES = 32  # partners compared per film
FEATHER = 1 / 64  # of the shorter side: width of the seam's blur
RING = 1 / 16  # of the shorter side: width of the band beside the seam whose brightness is matched
GAIN = (0.5, 2.0)  # limits of the change of brightness


def partners(
    masks: NDArray[np.bool_],
    labels: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    same: bool = False,
    patients: Sequence[str] = (),
    step: int = 4,
) -> NDArray[np.int64]:
    """For each film a film of another (or the same) class, with lungs of nearly the same place.

    Of `CANDIDATES` drawn films the one whose lungs overlap best (intersection over union) is
    taken, so that little of the partner's own lungs shows around the film's lungs.

    Args:
        masks: Lungs, bool [N, h, w].
        labels: Class index [N], -1 unknown; or [N, K] of 0, 1, NaN. Several labels are another
            class where any label known of both differs, the same where one is known of both and
            none differs.
        rng: Source of the candidates.
        same: A film of the same class instead; never the film itself.
        patients: Patient of each film, "" unknown; films of one patient are no partners.
        step: Masks are compared on every `step`-th row and column.

    Returns:
        Index of the partner, [N]; -1 where no such film exists.
    """
    thin = masks[:, ::step, ::step].astype(np.float32)
    small = thin.reshape(len(masks), thin.shape[1] * thin.shape[2])
    people = np.array(list(patients) or [""] * len(masks), dtype=object)
    chosen = np.full(len(masks), -1, np.int64)
    for i in range(len(masks)):
        fits = _agree(labels, i) if same else _differ(labels, i)
        fits[i] = False
        if people[i]:
            fits &= people != people[i]
        found = np.flatnonzero(fits)
        if len(found) == 0:
            continue
        drawn = rng.choice(found, min(CANDIDATES, len(found)), replace=False)
        shared = small[drawn] @ small[i]
        union = small[drawn].sum(1) + small[i].sum() - shared
        chosen[i] = drawn[int(np.argmax(shared / np.maximum(union, 1)))]
    return chosen


def _differ(labels: NDArray[np.float32], i: int) -> NDArray[np.bool_]:
    if labels.ndim == 1:
        return np.asarray((labels != labels[i]) & (labels >= 0) & (labels[i] >= 0))
    different = (labels != labels[i]) & ~np.isnan(labels) & ~np.isnan(labels[i])
    return np.asarray(different.any(axis=1))


def _agree(labels: NDArray[np.float32], i: int) -> NDArray[np.bool_]:
    if labels.ndim == 1:
        return np.asarray((labels == labels[i]) & (labels[i] >= 0))
    known = ~np.isnan(labels) & ~np.isnan(labels[i])
    return np.asarray(known.any(axis=1) & ~(known & (labels != labels[i])).any(axis=1))


def swap_backgrounds(images: Tensor, masks: Tensor, backgrounds: Tensor) -> Tensor:
    """Lungs of `images` on `backgrounds`, with a feathered seam that leaves the lungs whole.

    Args:
        images: [B, C, h, w].
        masks: Lungs of `images`, 0 or 1 [B, 1, h, w].
        backgrounds: The partners' films [B, C, h, w].
    """
    sigma = max(0.5, FEATHER * min(images.shape[-2:]))
    size = 2 * round(2 * sigma) + 1
    soft = torch.maximum(gaussian_blur(masks, [size, size], [sigma, sigma]), masks)
    return images * soft + backgrounds * (1 - soft)


def transplant(images: Tensor, masks: Tensor, others: Tensor, their_masks: Tensor) -> Tensor:
    """Lungs of `images` on the partners' backgrounds; of the partners' lungs nothing shows.

    Where a partner's lung would show beside the film's own, the film's own background stays. The
    partner's film is made as bright as the film beside the seam (`match_brightness`).

    Args:
        images: [B, C, h, w] in [0, 1].
        masks: Lungs of `images`, 0 or 1 [B, 1, h, w].
        others: The partners' films [B, C, h, w] in [0, 1].
        their_masks: Lungs of `others`, 0 or 1 [B, 1, h, w].

    Returns:
        [B, C, h, w] in [0, 1].
    """
    keep = torch.maximum(masks, their_masks)
    return swap_backgrounds(images, keep, match_brightness(images, keep, others))


def match_brightness(images: Tensor, keep: Tensor, others: Tensor) -> Tensor:
    """`others`, scaled so that the median beside the kept region is that of `images`.

    The factor is the ratio of the medians in a band around `keep` of `RING` of the shorter side,
    limited to `GAIN`; it is 1 where the band is empty or black. Black stays black.

    Args:
        images: [B, C, h, w] in [0, 1].
        keep: Kept region, 0 or 1 [B, 1, h, w].
        others: [B, C, h, w] in [0, 1].
    """
    reach = max(1, round(RING * min(images.shape[-2:])))
    ring = (max_pool2d(keep, 2 * reach + 1, 1, reach) > 0) & (keep == 0)
    gains = [
        _gain(image[:, band[0]], other[:, band[0]])
        for image, other, band in zip(images, others, ring, strict=True)
    ]
    scale = torch.tensor(gains, dtype=others.dtype).reshape(-1, 1, 1, 1)
    return (others * scale).clamp(0, 1)


def _gain(own: Tensor, theirs: Tensor) -> float:
    if own.numel() == 0:
        return 1.0
    over, under = float(own.median()), float(theirs.median())
    if over <= 0 or under <= 0:
        return 1.0
    return min(max(over / under, GAIN[0]), GAIN[1])
