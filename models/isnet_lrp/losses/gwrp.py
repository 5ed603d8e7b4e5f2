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
    k = count_leading(n, d, values.dtype)
    if k < SORT_FROM * n:
        ranked = values.topk(k, dim=-1).values
    else:
        k, ranked = n, values.sort(dim=-1, descending=True).values
    # exp(i·ln d), for d itself rounded to float32 is wrong by i roundings in dⁱ
    ranks = torch.arange(k, dtype=values.dtype, device=values.device)
    weights = torch.exp(ranks * math.log(d))
    return (ranked * weights).sum(-1) / sum_weights(n, d)


def count_leading(n: int, d: float, dtype: torch.dtype) -> int:
    """How many of n ranked values carry weight above rounding error, for 0 < d < 1."""
    negligible = torch.finfo(dtype).eps / 8
    return min(n, math.ceil(math.log(negligible) / math.log(d)))


def sum_weights(n: int, d: float) -> float:
    """Σ dⁱ, i = 0..n-1, for 0 < d < 1; exact also where d is close to 1."""
    return math.expm1(n * math.log(d)) / math.expm1(math.log(d))
