"""How far two relevance maps are apart, whatever their scale.

Source: Bassi et al., "Explanation Distillation", arXiv 2407.09788: the L1 distance of maps divided
by the geometric mean of their magnitudes, over a pyramid of resolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

TINY = 1e-10
SMALLEST = 8  # px: no scale of the pyramid has a shorter side than this


def map_distance(ours: Tensor, theirs: Tensor, *, pyramid: bool = True) -> Tensor:
    """Distance of each image's maps, [B], >= 0.

    At every scale d = mean|a - b| / (sqrt(mean|a| · mean|b|) + 1e-10), means over an image's map;
    neither a zero map nor an exploding one brings it down. The distance is the mean of d over the
    scales.

    Args:
        ours: Signed maps [B, C, h, w].
        theirs: Signed maps [B, C, h, w].
        pyramid: Also of maps averaged over 2 x 2 pixels, again and again while the shorter side
            keeps `SMALLEST` pixels; each scale has its own magnitudes.
    """
    found = [_distance(ours, theirs)]
    while pyramid and min(ours.shape[-2:]) // 2 >= SMALLEST:
        ours, theirs = avg_pool2d(ours, 2), avg_pool2d(theirs, 2)
        found.append(_distance(ours, theirs))
    return torch.stack(found).mean(0)


def _distance(ours: Tensor, theirs: Tensor) -> Tensor:
    size = (ours.abs().flatten(1).mean(1) * theirs.abs().flatten(1).mean(1)).clamp(min=TINY**2)
    return (ours - theirs).abs().flatten(1).mean(1) / (size.sqrt() + TINY)
