"""The z+ rule: only positive contributions carry relevance (docs/lrp.md, section 2.11).

    R_j = a_j Σ_k W⁺_jk R_k/stab(W⁺a + b⁺)_k

Of a convolution whose input can be negative it is AB(1, 0), with z = a⁺W⁺ + a⁻W⁻ + b⁺.
Sums share by the positive parts of their terms; the start is W⁺a + b⁺ of the last layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from isnet_lrp.families.rules import (
    MIXES,
    Part,
    WeightedRule,
    negative,
    positive,
    positive_or_none,
    refuse,
)
from isnet_lrp.family import Family
from isnet_lrp.kernels.epsilon import stabilise
from isnet_lrp.ops.structure import Sum
from isnet_lrp.ops.weighted import Weighted
from isnet_lrp.record.graph import Signals
from isnet_lrp.targets import Begin, start_with_logits


@dataclass(frozen=True)
class ZPlus(WeightedRule):
    """The positive contributions of a weighted operation."""

    def split(self, op: Weighted) -> list[Part]:
        """One part; by the input's signs where it can be negative (linear layers: never)."""
        down = None if op.positive or not op.splits else negative(op.weight)
        return [Part(positive(op.weight), down, positive_or_none(op.bias))]


def share_positive(op: Sum, relevance: Signals, epsilon: float) -> Signals:
    """R_u = u⁺ R/stab(u⁺ + v⁺)."""
    (R,) = relevance
    if R is None or len(op.ins) == 1:  # the other terms are constants, which take nothing
        return [R]
    terms = [(v * s).clamp(min=0) for v, s in zip(op.values, op.sign, strict=True)]
    s = R / stabilise(torch.stack(terms).sum(0), epsilon)
    return [term * s for term in terms]


def start_positive(begin: Begin) -> Tensor:
    """W⁺a + b⁺ of the last layer at the chosen logits."""
    if begin.last is None or not begin.last.weighs:
        return start_with_logits(begin)
    last = cast("Weighted", begin.last)
    bias = None if last.bias is None else last.bias.detach()
    part = Part(positive(last.weight), None, positive_or_none(bias))
    return begin.one_hot() * WeightedRule.forward(last, part)


RULES: dict[Any, Any] = dict.fromkeys(MIXES, refuse) | {Weighted: ZPlus(), Sum: share_positive}
ZPLUS = Family("z+", start_positive, "relevance", RULES, constant_biases=True)
