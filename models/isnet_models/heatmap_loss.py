"""The ISNet's heat-map loss: relevance outside the lungs costs, vanishing relevance costs too.

Formulas: Bassi et al., Nature Communications 15:291 (2024), Algorithms 1 to 3; LRP_SPEC section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-10  # e of the formulas
SATURATION = 1 - 1e-7  # cap of f = r/(r+E)

Foreground = Literal["l2", "hybrid", "l1"]


@dataclass(frozen=True)
class HeatmapLossSettings:
    """Constants of the loss.

    Attributes:
        w1: Weight of the background loss, >= 0.
        w2: Weight of the foreground loss, >= 0.
        d: Decay of GWRP, 0 (maximum) to 1 (mean).
        E: Softness of the background loss, > 0.
        C1: Lower end of the free range of foreground relevance, > 0.
        C2: Upper end, >= C1.
        foreground: Form of the loss above C2.
    """

    w1: float = 1.0
    w2: float = 1.0
    d: float = 0.9
    E: float = 1.0
    C1: float = 1.0
    C2: float = 25.0
    foreground: Foreground = "hybrid"


@dataclass(frozen=True)
class HeatmapLoss:
    """Result of `heatmap_loss`, all scalars or [B].

    Attributes:
        total: w1·L1 + w2·L2, mean over the images that count.
        background: L1, mean over the images that count (no gradient).
        foreground: L2, likewise.
        per_image: w1·L1 + w2·L2 [B].
        counted: Number of images with a mask that is neither empty nor full (a 0-d tensor).
    """

    total: Tensor
    background: Tensor
    foreground: Tensor
    per_image: Tensor
    counted: Tensor


def heatmap_loss(maps: Tensor, masks: Tensor, settings: HeatmapLossSettings) -> HeatmapLoss:
    """Computes the loss of a batch of maps.

    Images whose mask is empty or full are left out: they would add a constant without gradient.

    Args:
        maps: Signed relevance [B, K', C, h, w].
        masks: Lungs, exactly 0 or 1 (any dtype) [B, 1, H, W]; resized if H, W differ from h, w.
        settings: Constants.

    Raises:
        ValueError: Wrong shapes.
    """
    if maps.dim() != 5 or masks.dim() != 4 or masks.shape[0] != maps.shape[0]:
        raise ValueError(
            f"maps {tuple(maps.shape)}, masks {tuple(masks.shape)}: "
            "expected [B, K', C, h, w] and [B, 1, H, W]"
        )
    with torch.autocast(maps.device.type, enabled=False):
        maps = maps if maps.dtype == torch.float64 else maps.float()
        M = shrink_mask(masks.to(maps.dtype), maps.shape[-2:])[:, None]
        counts = (M.amax(dim=(1, 2, 3, 4)) > 0) & (M.amin(dim=(1, 2, 3, 4)) < 1)
        H = sanitise(maps, M)
        L1 = background_loss(H, M, settings)
        L2 = foreground_loss(H, M, settings)
        share = counts.to(maps.dtype)
        n = share.sum().clamp(min=1)

        def mean(values: Tensor) -> Tensor:
            return torch.where(counts, values, torch.zeros_like(values)).sum() / n

        per_image = settings.w1 * L1 + settings.w2 * L2
        return HeatmapLoss(
            mean(per_image), mean(L1).detach(), mean(L2).detach(), per_image, counts.sum()
        )


def shrink_mask(masks: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Masks [B, 1, H, W] at `size`: a cell with any foreground is foreground (LRP_SPEC 3.5)."""
    if masks.shape[-2:] == tuple(size):
        return masks
    return (F.adaptive_avg_pool2d(masks, (size[0], size[1])) != 0).to(masks.dtype)


def sanitise(H: Tensor, M: Tensor) -> Tensor:
    """Replaces NaN by the mean foreground relevance and infinities by the finite extremes.

    Args:
        H: Maps [B, K', C, h, w].
        M: Masks [B, 1, 1, h, w].
    """
    finite = torch.isfinite(H)
    clean = torch.where(finite, H, torch.zeros_like(H)).detach()
    full = M.expand_as(H)
    mean = (clean * full).sum() / (full.sum() + TINY)
    H = torch.where(torch.isnan(H), mean, H)
    H = torch.where(torch.isposinf(H), clean.max(), H)
    return torch.where(torch.isneginf(H), clean.min(), H)


def gwrp(values: Tensor, d: float) -> Tensor:
    """Global weighted ranked pooling over the last axis: Σ dⁱ v₍ᵢ₎ / Σ dⁱ, v sorted descending.

    Only the leading values whose weights are above rounding error are sorted out (top-k).

    Args:
        values: [..., n].
        d: 0 (maximum, 0⁰ = 1) to 1 (mean).
    """
    n = values.shape[-1]
    if d == 1:
        return values.mean(-1)
    if d == 0:
        return values.amax(-1)
    negligible = torch.finfo(values.dtype).eps / 8
    k = min(n, math.ceil(math.log(negligible) / math.log(d)) + 1)
    top = values.topk(k, dim=-1).values
    weights = d ** torch.arange(k, dtype=values.dtype, device=values.device)
    return (top * weights).sum(-1) / ((1 - d**n) / (1 - d))


def background_loss(H: Tensor, M: Tensor, s: HeatmapLossSettings) -> Tensor:
    """L1 [B]: -ln(1 - f), f = r/(r+E), r = GWRP of the background relevance.

    |H| is divided by its mean over the lungs (jointly over channels), so the scale of a map
    does not matter.
    """
    A = H.abs()
    mass = M.sum(dim=(2, 3, 4)) * H.shape[2]
    mean = (A * M).sum(dim=(2, 3, 4)) / (mass + TINY)
    U = A / (mean + TINY)[:, :, None, None, None] * (1 - M)
    r = gwrp(U.flatten(3), s.d)
    f = (r / (r + s.E)).clamp(max=SATURATION)
    return -torch.log(1 - f).mean(dim=(1, 2))


def foreground_loss(H: Tensor, M: Tensor, s: HeatmapLossSettings) -> Tensor:
    """L2 [B]: zero while g = Σ|H|·M lies in [C1, C2], rising on both sides."""
    g = (H.abs() * M).sum(dim=(2, 3, 4))
    left = ((g / s.C1).clamp(max=1) - 1) ** 2
    over = (g - s.C2).clamp(min=0)
    if s.foreground == "l1":
        right = over
    elif s.foreground == "l2":
        right = (over / s.C1) ** 2
    else:
        inner = (over.clamp(max=s.C1) / s.C1) ** 2
        right = torch.where(over > s.C1, 1 + over - s.C1, inner)
    return (left + right).mean(1)


def cut_values(totals: Tensor) -> tuple[float, float]:
    """C1 and C2 from the whole-map relevance of a plainly trained network (LRP_SPEC 4.1).

    C1 = max(m/5, m - 3s), C2 = min(25·C1, m + 3s), m and s the mean and sample s.d.

    Args:
        totals: T = mean over classes of Σ|H| per image [N], N >= 2.
    """
    m, s = totals.double().mean().item(), totals.double().std().item()
    C1 = max(m / 5, m - 3 * s)
    return C1, max(min(25 * C1, m + 3 * s), C1)
