"""The energy loss: minus the logarithm of the share of relevance that lies inside the lungs.

The share is the energy-based pointing game, which Rao et al. train with as their "Energy loss":
Studying How to Efficiently and Effectively Guide Models with Explanations, ICCV 2023
(arXiv 2303.11932). It is taken in its logarithm here, as a probability is in cross-entropy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from isnet_lrp.losses.heatmap import HeatmapLoss, combine
from isnet_lrp.losses.map_masks import disable_autocast, mask_maps, require_margin

SMALLEST_RATIO = 1e-7  # of inside to outside relevance: the loss ends at ln(1 + 1e7) = 16.1


@dataclass(frozen=True)
class EnergyLossSettings:
    """Variants of the loss; there are no constants to tune.

    Attributes:
        positive_only: Count positive relevance alone, as Rao et al. do, instead of |H|.
        keep_degenerate: Count images with an empty or a full mask, for comparison only.
        margin: As in `HeatmapLossSettings`.

    Raises:
        ValueError: A margin outside its range.
    """

    positive_only: bool = False
    keep_degenerate: bool = False
    margin: float = 0.0

    def __post_init__(self) -> None:
        require_margin(self.margin)


def energy_loss(
    maps: Tensor,
    masks: Tensor,
    settings: EnergyLossSettings | None = None,
    *,
    check_masks: bool | None = None,
) -> HeatmapLoss:
    """Computes -ln(Σ|H|·M / Σ|H|), mean over classes and over the images that count.

    Pixels of the margin are in neither sum. The scale of a map does not matter, so it cannot be met
    by vanishing maps: a map without any relevance is charged as a uniform one, without gradient.
    The loss is 0 where all relevance lies inside, and ends at 16.1 where next to none does; both
    gradients are defined there. The host never waits for a GPU.

    Args:
        maps: Signed relevance [B, K', C, h, w]; NaN and infinities are replaced.
        masks: As in `heatmap_loss`.
        settings: Variant; None: |H|.
        check_masks: As in `heatmap_loss`.

    Returns:
        The result of `heatmap_loss`; `background` is the loss, `foreground` 0.

    Raises:
        ValueError: Wrong shapes.
        MaskValueError: Checked masks hold values other than 0 and 1.
    """
    s = settings or EnergyLossSettings()
    with disable_autocast(maps.device):
        given = mask_maps(
            maps, masks, keep_degenerate=s.keep_degenerate, check_values=check_masks,
            margin=s.margin,
        )  # fmt: skip
        A = given.H.clamp(min=0) if s.positive_only else given.H.abs()
        space = (2, 3, 4)
        inside, outside = (A * given.M).sum(space), (A * given.outside).sum(space)
        # below, gradients could leave the range of the type
        silent = inside + outside <= math.sqrt(torch.finfo(A.dtype).tiny)
        inside = torch.where(silent, given.M.sum(space), inside)
        outside = torch.where(silent, given.outside.sum(space), outside)
        lift = (SMALLEST_RATIO * outside - inside).clamp(min=0).detach()
        per_image = torch.log1p(outside / (inside + lift)).mean(1)
        return combine(per_image, per_image, torch.zeros_like(per_image), given.counts)
