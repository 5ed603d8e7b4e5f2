"""Rules of weighted operations, for families that carry relevance and for composites of layers.

Each shares the relevance of z = W a + b by its own weights: with parts p of the sum,

    R_j = Σ_p share_p · (a_j⁺·(U_pᵀ s_p)_j + a_j⁻·(D_pᵀ s_p)_j)
    s_p = R/stab(U_p a⁺ + D_p a⁻ + c_p)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.kernels.epsilon import stabilise
from isnet_lrp.ops.product import PRODUCTS
from isnet_lrp.ops.structure import FOURIER
from isnet_lrp.ops.weighted import CONVOLUTIONS, Weighted
from isnet_lrp.record.graph import Op, Signals


class Part(NamedTuple):
    """One sum and its share.

    Attributes:
        up: Weights of the inputs that are not negative.
        down: Weights of the negative ones; None: the same.
        bias: c, or None.
        share: What the relevance is multiplied by, a number, a tensor like the output, or None.
    """

    up: Tensor
    down: Tensor | None
    bias: Tensor | None
    share: float | Tensor | None = None


@dataclass(frozen=True)
class WeightedRule:
    """A rule by parts; an heir says which.

    Attributes:
        epsilon: Stabiliser of its own, >= 0; None: that of the pass.
    """

    epsilon: float | None = None

    def split(self, op: Weighted) -> list[Part]:
        """The parts of an operation's sum."""
        raise NotImplementedError

    def __call__(self, op: Weighted, relevance: Signals, epsilon: float) -> Signals:
        """Relevance [K, *input.shape] of the input."""
        (R,) = relevance
        if R is None:
            return [None]
        epsilon = epsilon if self.epsilon is None else self.epsilon
        found = [self._take(op, part, R, epsilon) for part in self.split(op)]
        return [found[0] if len(found) == 1 else torch.stack(found).sum(0)]

    def _take(self, op: Weighted, part: Part, R: Tensor, epsilon: float) -> Tensor:
        R = R if part.share is None else R * part.share
        s = R / stabilise(self.forward(op, part), epsilon)
        a, up = op.input(), op.transpose(part.up, s)
        if part.down is None:
            return a * up
        return a.clamp(min=0) * up + a.clamp(max=0) * op.transpose(part.down, s)

    @staticmethod
    def forward(op: Weighted, part: Part) -> Tensor:
        """The part's sum U a⁺ + D a⁻ + c."""
        a = op.input()
        if part.down is None:
            return op.forward(part.up, part.bias, a)
        z = op.forward(part.up, part.bias, a.clamp(min=0))
        return z + op.forward(part.down, None, a.clamp(max=0))


def positive(t: Tensor) -> Tensor:
    """max(t, 0)."""
    return torch.maximum(t, torch.zeros_like(t))


def negative(t: Tensor) -> Tensor:
    """min(t, 0)."""
    return torch.minimum(t, torch.zeros_like(t))


def positive_or_none(bias: Tensor | None) -> Tensor | None:
    """max(b, 0), or None."""
    return None if bias is None else positive(bias)


# Weighted sums whose parts by sign are not written.
MIXES = CONVOLUTIONS | FOURIER | (PRODUCTS - {"mul", "multiply"}) | {"attention", "rmatmul"}


def refuse(op: Op, relevance: Signals, epsilon: float) -> Signals:
    """For operations that weigh without saying by which signs.

    Raises:
        UnsupportedOperation: Always.
    """
    raise UnsupportedOperation(f"{op.name}: no rule by signs; use family 'flex' or 'block'")


@dataclass(frozen=True)
class Epsilon(WeightedRule):
    """R_j = a_j Σ_k W_jk R_k/stab(z_k) (Bach et al. 2015; docs/lrp.md, section 2.1)."""

    def split(self, op: Weighted) -> list[Part]:
        """One part, the map itself."""
        return [Part(op.weight, None, op.bias)]
