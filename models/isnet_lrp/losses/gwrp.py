"""Global weighted ranked pooling: between the maximum and the mean of a map, without a full sort.

Kolesnikov and Lampert, ECCV 2016 (arXiv 1603.06098), as the ISNet uses it: docs/lrp.md, section 4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SORT_FROM = 0.9  # share of the values above which a sort is no slower than top-k (benchmarks/gwrp)


def gwrp(values: Tensor, d: float) -> Tensor:
    """Σᵢ dⁱ v₍ᵢ₎ / Σᵢ dⁱ over the last axis, i = 0..n-1, v sorted descending.

    Only the leading k values with d^k below an eighth of the rounding unit are sorted out. For
    values >= 0 that leaves the result lower by less than the fraction d^k/(1 - d^k), whatever the
    values are, and no weight wrong by more than d^k of the largest. Equal values share their
    weights in an unspecified order.

    Args:
        values: float32 or float64 [..., n], n >= 1.
        d: Decay, 0 (maximum, 0⁰ = 1) to 1 (mean).

    Returns:
        [...].

    Raises:
        ValueError: d outside [0, 1], no values, or another type.
    """
    if not 0 <= d <= 1:
        raise ValueError(f"d = {d:g}: the decay must lie between 0 (maximum) and 1 (mean)")
    if values.dtype not in (torch.float32, torch.float64) or values.shape[-1] == 0:
        raise ValueError(
            f"{values.dtype} {list(values.shape)}: give at least one float32 or float64 value"
        )
    if d == 1:
        return values.mean(-1)
    if d == 0:
        return values.amax(-1)
    n = values.shape[-1]
    ranked, ranks = rank_leading(values, count_leading(n, d, values.dtype))
    # exp(i·ln d), for d itself rounded to float32 is wrong by i roundings in dⁱ
    weights = torch.exp(ranks * math.log(d))
    return (ranked * weights).sum(-1) / sum_weights(n, d)


def gwrp_of_share(values: Tensor, share: float, counts: Tensor) -> Tensor:
    """GWRP whose weight lies on a share of the values, whatever their number n is.

    d = 1 - 1/(share·n), so that 1/(1 - d) = share·n values carry the weight; where share·n is 1 or
    less, the maximum. The sums end at i = n - 1: values beyond n must be zeros, which rank last.
    The host never waits for a GPU.

    Args:
        values: float32 or float64 [..., N], >= 0, N >= 1.
        share: Above 0 to 1.
        counts: n of each row [...], 0 to N, broadcast to the rows; 0 is taken for 1.

    Returns:
        [...].

    Raises:
        ValueError: A share outside (0, 1], no values, or another type.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share = {share:g}: must lie above 0, up to 1 (all values)")
    if values.dtype not in (torch.float32, torch.float64) or values.shape[-1] == 0:
        raise ValueError(
            f"{values.dtype} {list(values.shape)}: give at least one float32 or float64 value"
        )
    kind, N = torch.finfo(values.dtype), values.shape[-1]
    widest = share * N  # rows with fewer values have a smaller d
    leading = 1 if widest <= 1 else count_leading(N, 1 - 1 / widest, values.dtype)
    ranked, ranks = rank_leading(values, leading)
    n = counts.to(values.dtype).clamp(min=1)
    log_d = torch.log1p(-1 / (share * n).clamp(min=1)).clamp(min=math.log(kind.tiny))
    weights = torch.exp(ranks * log_d[..., None])
    return (ranked * weights).sum(-1) * torch.expm1(log_d) / torch.expm1(n * log_d)


def rank_leading(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The largest k values or all of them, sorted descending [..., k'], and their ranks [k']."""
    n = values.shape[-1]
    if k < SORT_FROM * n:
        ranked = values.topk(k, dim=-1).values
    else:
        k, ranked = n, values.sort(dim=-1, descending=True).values
    return ranked, torch.arange(k, dtype=values.dtype, device=values.device)


def count_leading(n: int, d: float, dtype: torch.dtype) -> int:
    """How many of n ranked values carry weight above rounding error, for 0 < d < 1."""
    negligible = torch.finfo(dtype).eps / 8
    return min(n, math.ceil(math.log(negligible) / math.log(d)))


def sum_weights(n: int, d: float) -> float:
    """Σ dⁱ, i = 0..n-1, for 0 < d < 1; exact also where d is close to 1."""
    return math.expm1(n * math.log(d)) / math.expm1(math.log(d))
