"""Films with another film's background: what a model that looks at the lungs does not notice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

CANDIDATES = 32  # partners compared per film
FEATHER = 1 / 64  # of the shorter side: width of the seam's blur


def partners(
    masks: NDArray[np.bool_], labels: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.int64]:
    """For each film a film of another class, with lungs of nearly the same place.

    Of `CANDIDATES` drawn films the one whose lungs overlap best (intersection over union) is
    taken, so that little of the partner's own lungs shows around the film's lungs.

    Args:
        masks: Lungs, bool [N, h, w].
        labels: Class index [N], or [N, K] (another class: any known label differs).
        rng: Source of the candidates.

    Returns:
        Index of the partner, [N]; -1 where no film of another class exists.
    """
    small = masks[:, ::4, ::4].reshape(len(masks), -1).astype(np.float32)
    chosen = np.full(len(masks), -1, np.int64)
    for i in range(len(masks)):
        differs = np.flatnonzero(_differ(labels, i))
        if len(differs) == 0:
            continue
        drawn = rng.choice(differs, min(CANDIDATES, len(differs)), replace=False)
        shared = small[drawn] @ small[i]
        union = small[drawn].sum(1) + small[i].sum() - shared
        chosen[i] = drawn[int(np.argmax(shared / np.maximum(union, 1)))]
    return chosen


def _differ(labels: NDArray[np.float32], i: int) -> NDArray[np.bool_]:
    if labels.ndim == 1:
        return np.asarray((labels != labels[i]) & (labels >= 0))
    different = (labels != labels[i]) & ~np.isnan(labels) & ~np.isnan(labels[i])
    return np.asarray(different.any(axis=1))


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
