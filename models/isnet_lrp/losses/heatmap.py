"""The ISNet's heat-map loss: relevance outside the lungs costs, vanishing relevance costs too.

Source: Bassi et al., Nature Communications 15:291 (2024), Algorithms 1 to 3; docs/lrp.md,
section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from isnet_lrp.losses.gwrp import gwrp, gwrp_of_share
from isnet_lrp.losses.map_masks import (
    TINY,
    MaskedMaps,
    disable_autocast,
    mask_maps,
    require_margin,
)
from isnet_lrp.losses.relevance_range import Bound, estimate_range

__all__ = ["HeatmapLoss", "HeatmapLossSettings", "estimate_range", "heatmap_loss"]

Foreground = Literal["l2", "hybrid", "l1"]
Norm = Literal["absolute", "signed", "none"]


@dataclass(frozen=True)
class HeatmapLossSettings:
    """Constants of the loss.

    C1 and C2 may be pairs [z+, epsilon] for Dual ISNet: the first value holds for the first half
    of the class axis, the second for the second half.

    Attributes:
        background_weight: Weight w1 of the background loss, >= 0; 0 drops it.
        foreground_weight: Weight w2 of the foreground loss, >= 0; 0 drops it.
        decay: Decay d of GWRP over all pixels, 0 (maximum) to 1 (mean), if there is no `share`.
        share: Share of the background's pixels on which GWRP has its weight, above 0 to 1: d is
            1 - 1/(share·n) for n background pixels, of each image at each map's size. None: `decay`
            for every n.
        margin: Width of the margin round the lungs that counts for neither side, as a share of the
            masks' shorter side, 0 to 0.25, rounded up to whole pixels.
        saturation: E of the background loss, > 0: the background relevance, in units of its scale,
            at which f = r/(r + E) is one half.
        low: C1, lower end of the free range of foreground relevance, > 0.
        high: C2, upper end, >= C1; infinity: any amount of relevance is free.
        foreground: Form of the loss above C2: "l2" ((g - C2)/C1)², "l1" g - C2, "hybrid" the
            first up to C1 + C2 and 1 + (g - C1 - C2) above.
        norm: What background relevance is measured in: "absolute" the mean of |H| over the lungs,
            "signed" the mean of H over the lungs, "none" 1/(C·h·w).
        channel_decay: Decay of GWRP over the channels' background losses, 1: their mean.
        keep_degenerate: Count images with an empty or a full mask, as the authors' code does; for
            comparison only: an empty mask adds a constant without gradient, a full one has no
            background.

    Raises:
        ValueError: A constant is outside its range.
    """

    background_weight: float = 1.0
    foreground_weight: float = 1.0
    decay: float = 0.9
    share: float | None = None
    margin: float = 0.0
    saturation: float = 1.0
    low: Bound = 1.0
    high: Bound = 25.0
    foreground: Foreground = "hybrid"
    norm: Norm = "absolute"
    channel_decay: float = 1.0
    keep_degenerate: bool = False

    def __post_init__(self) -> None:
        for name in ("background_weight", "foreground_weight"):
            _require(0 <= getattr(self, name) < math.inf, self, name, "a number >= 0")
        for name in ("decay", "channel_decay"):
            _require(0 <= getattr(self, name) <= 1, self, name, "from 0 (maximum) to 1 (mean)")
        _require(self.share is None or 0 < self.share <= 1, self, "share", "above 0, up to 1")
        require_margin(self.margin)
        _require(0 < self.saturation < math.inf, self, "saturation", "a number > 0")
        _require(all(0 < c < math.inf for c in _pair(self.low)), self, "low", "> 0")
        ordered = zip(_pair(self.low), _pair(self.high), strict=True)
        _require(all(a <= b for a, b in ordered), self, "high", f">= low = {self.low}")
        _require(self.foreground in get_args(Foreground), self, "foreground", "l2, hybrid or l1")
        _require(self.norm in get_args(Norm), self, "norm", "absolute, signed or none")


@dataclass(frozen=True)
class HeatmapLoss:
    """What a map loss returns.

    Attributes:
        total: The loss: mean of `per_image` over the images that count; 0 where none does.
        background: Its part for relevance outside the lungs, unweighted (L1); no gradient.
        foreground: Its part for too little or too much relevance inside them, unweighted (L2); no
            gradient.
        per_image: Loss of each image [B], 0 where it does not count.
        counted: Number of images that count (0-d tensor).
    """

    total: Tensor
    background: Tensor
    foreground: Tensor
    per_image: Tensor
    counted: Tensor


def heatmap_loss(
    maps: Tensor,
    masks: Tensor,
    settings: HeatmapLossSettings,
    *,
    check_masks: bool | None = None,
) -> HeatmapLoss:
    """Computes w1·L1 + w2·L2 of a batch of maps.

    Images whose mask is empty (no mask is an empty one) or full are left out, unless
    `settings.keep_degenerate`: they would add a constant, or have no background to speak of.
    Computed in float32 (float64 for float64 maps) whatever the autocast state; the host never
    waits for a GPU. Below its cap, where the gradient ends, L1 = ln(1 + r/E).

    Args:
        maps: Signed relevance [B, K', C, h, w]; NaN and infinities are replaced.
        masks: Lungs, exactly 0 or 1, any type [B, 1, H, W] or [B, C, H, W], of which channel 0 is
            taken; resized if H, W differ from h, w (any lung in a cell makes it lung).
        settings: Constants.
        check_masks: Whether the values of `masks` are looked at, for which the host waits for the
            device. None: on the CPU alone; elsewhere other values pass unseen.

    Raises:
        ValueError: Wrong shapes, or a pair of C1 or C2 for an odd number of maps.
        MaskValueError: Checked masks hold values other than 0 and 1.
    """
    s = settings
    with disable_autocast(maps.device):
        given = mask_maps(
            maps, masks, keep_degenerate=s.keep_degenerate, check_values=check_masks,
            margin=s.margin,
        )  # fmt: skip
        A = given.H.abs()
        g = (A * given.M).sum(dim=(2, 3, 4))
        L1, L2 = background_loss(given, A, g, s), foreground_loss(g, s)
        parts = [w * L for w, L in ((s.background_weight, L1), (s.foreground_weight, L2)) if w > 0]
        per_image = torch.stack(parts).sum(0) if parts else 0 * g.sum(1)  # no 0·∞, yet a gradient
        return combine(per_image, L1, L2, given.counts)


def combine(
    per_image: Tensor, background: Tensor, foreground: Tensor, counts: Tensor
) -> HeatmapLoss:
    """Means over the images that count, of losses [B]."""
    n = counts.sum()

    def kept(values: Tensor) -> Tensor:
        return torch.where(counts, values, 0.0)

    def mean(values: Tensor) -> Tensor:
        return kept(values).sum() / n.clamp(min=1)

    return HeatmapLoss(
        mean(per_image), mean(background.detach()), mean(foreground.detach()), kept(per_image), n
    )


def background_loss(given: MaskedMaps, A: Tensor, g: Tensor, s: HeatmapLossSettings) -> Tensor:
    """L1 [B]: mean over classes and channels of -ln(1 - f), f = r/(r + E).

    r is the GWRP of |H| in the background over its scale (`settings.norm`). The scale is divided
    out after the ranking, which it does not change. f is capped at 1 - 1e-7, where the gradient
    ends.

    Args:
        given: Maps and masks.
        A: |H| [B, K', C, h, w].
        g: Σ|H|·M [B, K'].
        s: Constants.
    """
    background = (A * given.outside).flatten(3)
    if s.share is None:
        q = gwrp(background, s.decay)
    else:
        q = gwrp_of_share(background, s.share, given.outside.flatten(1).sum(1)[:, None, None])
    kind = torch.finfo(q.dtype)
    scale = (
        (s.saturation * measure_scale(given, g, s.norm))
        .clamp(min=kind.tiny)[:, :, None]
        .expand_as(q)
    )
    # 1 - f at the cap as a number of this type, which is what -ln(1 - f) saturates at
    least = 1 - (1 - 1e-7) if q.dtype == torch.float64 else kind.eps
    over = q > scale * ((1 - least) / least)
    ratio = torch.where(over, 0.0, q) / torch.where(over, 1.0, scale)  # never ∞·0 backwards
    loss = torch.where(over, -math.log(least), torch.log1p(ratio))
    return (gwrp(loss, s.channel_decay) if s.channel_decay < 1 else loss.mean(2)).mean(1)


def measure_scale(given: MaskedMaps, g: Tensor, norm: Norm) -> Tensor:
    """The unit of background relevance [B, K'], >= 0; jointly over channels.

    Args:
        given: Maps and masks.
        g: Σ|H|·M [B, K'].
        norm: See `HeatmapLossSettings.norm`.
    """
    _, _, C, h, w = given.H.shape
    if norm == "none":
        return torch.full_like(g, 1 / (C * h * w))
    mass = given.M.sum(dim=(2, 3, 4)) * C + TINY
    if norm == "absolute":
        return g / mass + TINY
    return ((given.H * given.M).sum(dim=(2, 3, 4)) / mass + TINY).abs()


def foreground_loss(g: Tensor, s: HeatmapLossSettings) -> Tensor:
    """L2 [B]: mean over classes, zero while g lies in [C1, C2], rising on both sides.

    Args:
        g: Σ|H|·M [B, K'].
        s: Constants.

    Raises:
        ValueError: A pair for an odd number of maps.
    """
    if isinstance(s.low, tuple) or isinstance(s.high, tuple):
        if g.shape[1] % 2:
            raise ValueError(
                f"low = {s.low}, high = {s.high} for {g.shape[1]} map(s) per image: pairs belong "
                "to z+ and epsilon maps together (family dual); give single numbers"
            )
        halves = zip(g.chunk(2, dim=1), _pair(s.low), _pair(s.high), strict=True)
        return torch.cat([range_loss(part, a, b, s.foreground) for part, a, b in halves], 1).mean(1)
    return range_loss(g, s.low, s.high, s.foreground).mean(1)


def range_loss(g: Tensor, low: float, high: float, form: Foreground) -> Tensor:
    """Loss of each g outside [low, high], C1 and C2 of the papers.

    Source: docs/lrp.md, section 4, foreground loss.
    """
    left = ((g / low).clamp(max=1) - 1) ** 2
    over = (g - high).clamp(min=0)
    if form == "l1":
        right = over
    elif form == "l2":
        right = (over / low) ** 2
    else:
        inner = (over.clamp(max=low) / low) ** 2
        right = torch.where(over > low, 1 + over - low, inner)
    return left + right


def _pair(value: Bound) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)


def _require(good: bool, settings: HeatmapLossSettings, name: str, expected: str) -> None:
    if not good:
        raise ValueError(f"{name} = {getattr(settings, name)!r}: must be {expected}")
