"""The map losses of docs/lrp.md, section 4 once more, with loops over pixels and Python numbers."""

from __future__ import annotations

import math

from torch import Tensor

from isnet_lrp.losses.heatmap import HeatmapLossSettings

e = 1e-10
Plane = list[list[float]]


def weighted_rank_mean(values: list[float], d: float) -> float:
    """GWRP: sorted descending, weights d^0, d^1, ... (0^0 = 1); 0 without values."""
    top, weight = 0.0, 0.0 if values else 1.0
    for i, value in enumerate(sorted(values, reverse=True)):
        w = 1.0 if i == 0 else d**i
        top, weight = top + w * value, weight + w
    return top / weight


def small_mask(mask: Plane, h: int, w: int) -> Plane:
    """1 where any pixel of the cell is 1; cells as in adaptive pooling."""
    H, W = len(mask), len(mask[0])
    return [
        [
            max(
                mask[y][x]
                for y in range(i * H // h, -(-(i + 1) * H // h))
                for x in range(j * W // w, -(-(j + 1) * W // w))
            )
            for j in range(w)
        ]
        for i in range(h)
    ]


def wider_mask(mask: Plane, margin: float) -> Plane:
    """1 at most r rows and r columns away from a 1, r the share `margin` of the shorter side."""
    H, W = len(mask), len(mask[0])
    r = 0
    while r < margin * min(H, W) - 1e-6:
        r += 1
    return [
        [
            max(
                mask[y][x]
                for y in range(max(0, i - r), min(H, i + r + 1))
                for x in range(max(0, j - r), min(W, j + r + 1))
            )
            for j in range(W)
        ]
        for i in range(H)
    ]


def finite_maps(maps: Tensor, masks: list[Plane]) -> list:
    """Nested lists [B][K][C][h][w] without NaN and infinities."""
    B, K, C, h, w = maps.shape
    values = maps.tolist()
    places = [
        (b, k, c, y, x)
        for b in range(B)
        for k in range(K)
        for c in range(C)
        for y in range(h)
        for x in range(w)
    ]
    inside = mass = 0.0
    high = low = 0.0 if not bool(maps.isfinite().all()) else maps.flatten()[0].item()
    for b, k, c, y, x in places:
        v = values[b][k][c][y][x]
        v = v if math.isfinite(v) else 0.0
        inside += v * masks[b][y][x]
        mass += masks[b][y][x]
        high, low = max(high, v), min(low, v)
    for b, k, c, y, x in places:
        v = values[b][k][c][y][x]
        if math.isnan(v):
            values[b][k][c][y][x] = inside / (mass + e)
        elif math.isinf(v):
            values[b][k][c][y][x] = high if v > 0 else low
    return values


def foreground(g: float, C1: float, C2: float, form: str) -> float:
    left = (min(g / C1, 1) - 1) ** 2
    over = max(g - C2, 0)
    if form == "l1":
        return left + over
    if form == "l2" or over <= C1:
        return left + (over / C1) ** 2
    return left + 1 + over - C1


def image_losses(
    maps: list, mask: Plane, wide: Plane, s: HeatmapLossSettings
) -> tuple[float, float]:
    """L1 and L2 of one image, maps [K][C][h][w]; background is what is not in the wide mask."""
    L1 = L2 = 0.0
    K = len(maps)
    for k, classmap in enumerate(maps):
        C, h, w = len(classmap), len(mask), len(mask[0])
        pixels = [(y, x) for y in range(h) for x in range(w)]
        g = signed = mass = 0.0
        for channel in classmap:
            for y, x in pixels:
                g += abs(channel[y][x]) * mask[y][x]
                signed += channel[y][x] * mask[y][x]
                mass += mask[y][x]
        costs = []
        for channel in classmap:
            background = []
            for y, x in pixels:
                if s.share is not None and wide[y][x]:
                    continue  # a share counts the background alone
                if s.norm == "absolute":
                    value = abs(channel[y][x]) / (g / (mass + e) + e)
                elif s.norm == "signed":
                    value = abs(channel[y][x] / (signed / (mass + e) + e))
                else:
                    value = abs(channel[y][x]) * C * h * w
                background.append(value * (1 - wide[y][x]))
            d = s.decay
            if s.share is not None:
                d = 1 - 1 / max(s.share * len(background), 1)
            r = weighted_rank_mean(background, d)
            costs.append(-math.log(1 - min(r / (r + s.saturation), 1 - 1e-7)))
        L1 += weighted_rank_mean(costs, s.channel_decay) / K
        C1 = s.low[2 * k // K] if isinstance(s.low, tuple) else s.low
        C2 = s.high[2 * k // K] if isinstance(s.high, tuple) else s.high
        L2 += foreground(g, C1, C2, s.foreground) / K
    return L1, L2


def slow_heatmap_loss(
    maps: Tensor, masks: Tensor, s: HeatmapLossSettings
) -> tuple[float, float, float, list[float]]:
    """Total, L1, L2 and the loss per image; every image counts."""
    h, w = maps.shape[-2:]
    planes = masks[:, 0].double().tolist()
    small = [small_mask(m, h, w) for m in planes]
    wide = [small_mask(wider_mask(m, s.margin), h, w) for m in planes]
    each = [
        image_losses(m, mask, more, s)
        for m, mask, more in zip(finite_maps(maps, small), small, wide, strict=True)
    ]
    B = len(each)
    per_image = [s.background_weight * L1 + s.foreground_weight * L2 for L1, L2 in each]
    return (
        sum(per_image) / B,
        sum(L1 for L1, _ in each) / B,
        sum(L2 for _, L2 in each) / B,
        per_image,
    )


def slow_energy_loss(
    maps: Tensor, masks: Tensor, positive_only: bool, margin: float = 0.0
) -> float:
    """Mean of -ln(inside / all) over images and classes; every image counts."""
    B, K, C, h, w = maps.shape
    planes = masks[:, 0].double().tolist()
    small = [small_mask(m, h, w) for m in planes]
    wide = [small_mask(wider_mask(m, margin), h, w) for m in planes]
    total = 0.0
    for b in range(B):
        for k in range(K):
            inside = every = 0.0
            for c in range(C):
                for y in range(h):
                    for x in range(w):
                        v = maps[b, k, c, y, x].item()
                        v = max(v, 0.0) if positive_only else abs(v)
                        if small[b][y][x] or not wide[b][y][x]:
                            every += v
                        inside += v * small[b][y][x]
            total -= math.log(inside / every) / (B * K)
    return total
