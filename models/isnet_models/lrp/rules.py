"""Operations with two backward faces: the ordinary gradient, and relevance while a map is made.

Epsilon-LRP in its Flex form is input x gradient with a modified backward signal (Faster ISNet,
IEEE Access 2024, LRP-Flex): each ReLU multiplies the signal by a/(a+epsilon), a being its output,
and BatchNorm is an affine map with constant statistics. Which face is shown is decided by the
`Phase` of the call that made the operation; nothing is global.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


@dataclass
class Phase:
    """State of one `relevance` call, shared by all operations recorded in it.

    Attributes:
        epsilon: LRP's stabiliser, >= 0; 0 is gradient x input.
        explaining: True only while the relevance backward pass runs.
    """

    epsilon: float
    explaining: bool = False


class Damp(Function):
    """g·a/(a+epsilon) for a >= 0, with its exact derivative in one pass over memory."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, a: Tensor, epsilon: float) -> Tensor:
        """Damped signal; `g` and `a` share one shape."""
        ctx.save_for_backward(g, a)
        ctx.epsilon = epsilon
        if epsilon == 0:
            return g * (a > 0)
        return g * (a / (a + epsilon))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """d/dg = q, d/da = g·(1-q)·r with r = 1/(a+epsilon), q = a·r."""
        (upstream,) = grads
        g, a = ctx.saved_tensors
        if ctx.epsilon == 0:
            return upstream * (a > 0), None, None
        r = (a + ctx.epsilon).reciprocal()
        q = a * r
        return upstream * q, upstream * g * r * (1 - q), None


class RelevanceReLU(Function):
    """ReLU; while explaining, the backward signal is `Damp`ed instead of gated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, phase: Phase, inplace: bool) -> Tensor:
        """max(x, 0), in `x` itself if asked, as torch's own in-place ReLU."""
        ctx.phase = phase
        if inplace:
            y = x.relu_()
            ctx.mark_dirty(x)
        else:
            y = x.relu()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Damped while explaining, gated otherwise."""
        (g,) = grads
        (y,) = ctx.saved_tensors
        if ctx.phase.explaining:
            return Damp.apply(g, y, ctx.phase.epsilon), None, None
        return g * (y > 0), None, None


class RelevanceBatchNorm(Function):
    """BatchNorm; while explaining, its statistics are constants, also in training mode.

    Differentiating a map through batch statistics would send an image's relevance to the other
    images of its batch.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
        phase: Phase,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised `x`, and the mean and 1/s.d. used, both [C] and without gradient."""
        y, mean, invstd = torch.native_batch_norm(
            x, weight, bias, running_mean, running_var, training, momentum, eps
        )
        if not training:
            if running_mean is None or running_var is None:
                raise ValueError("BatchNorm in evaluation mode without running statistics")
            mean, invstd = running_mean.clone(), (running_var + eps).rsqrt()
        ctx.save_for_backward(x, weight, running_mean, running_var, mean, invstd)
        ctx.training, ctx.eps, ctx.phase = training, eps, phase
        ctx.mark_non_differentiable(mean, invstd)
        ctx.set_materialize_grads(False)
        return y, mean, invstd

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Constant-statistics signal while explaining, the ordinary gradient otherwise."""
        g = grads[0]
        x, weight, running_mean, running_var, mean, invstd = ctx.saved_tensors
        rest: tuple[None, ...] = (None,) * 6
        if ctx.phase.explaining:
            scale = invstd.to(g.dtype) if weight is None else (weight * invstd).to(g.dtype)
            return g * scale.view(1, -1, *([1] * (g.dim() - 2))), None, None, *rest
        needs = ctx.needs_input_grad
        mask = [needs[0], needs[1], needs[2]]
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            g.contiguous(), x, weight, running_mean, running_var, mean, invstd,
            ctx.training, ctx.eps, mask,
        )  # fmt: skip
        return dx if mask[0] else None, dw if mask[1] else None, db if mask[2] else None, *rest
