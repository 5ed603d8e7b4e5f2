"""The zB rule as the rule of one layer, for composites (docs/lrp.md, section 2.8).

    z = (W x + b) - (W⁺l + l b⁺) - (W⁻h + h b⁻),  s = R/stab(z)
    R_j = x_j (Wᵀs)_j - l_j (W⁺ᵀs)_j - h_j (W⁻ᵀs)_j

The argument `zb` of `relevance` does the same to the first layer, quicker, and looks through what
stands before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isnet_lrp.families.rules import negative, positive
from isnet_lrp.kernels.epsilon import stabilise
from isnet_lrp.ops.weighted import Weighted
from isnet_lrp.record.graph import Signals


@dataclass(frozen=True)
class ZB:
    """The zB rule of a layer whose inputs lie in a known interval.

    Attributes:
        low: Lower bound, a number or one per channel [C].
        high: Upper bound.
        epsilon: Stabiliser of its own, >= 0; None: that of the pass.
    """

    low: float | Tensor
    high: float | Tensor
    epsilon: float | None = None

    def __call__(self, op: Weighted, relevance: Signals, epsilon: float) -> Signals:
        """Relevance of the inputs."""
        (R,) = relevance
        if R is None:
            return [None]
        x, W, b = op.input(), op.weight, op.bias
        low, high = (torch.as_tensor(v, dtype=x.dtype, device=x.device).reshape(-1)
                     for v in (self.low, self.high))  # fmt: skip
        shape = (1, -1, *([1] * (x.dim() - 2)))
        L, H = (bound.view(shape).expand_as(x) for bound in (low, high))
        up, down = positive(W), negative(W)
        outside = op.forward(up, None, L) + op.forward(down, None, H)
        if b is not None:
            term = low.mean() * positive(b) + high.mean() * negative(b)
            outside = outside + term.view(-1, *([1] * (outside.dim() - 2)))
        z = op.forward(W, b, x) - outside
        s = R / stabilise(z, epsilon if self.epsilon is None else self.epsilon)
        found = x * op.transpose(W, s) - L * op.transpose(up, s) - H * op.transpose(down, s)
        return [found]
