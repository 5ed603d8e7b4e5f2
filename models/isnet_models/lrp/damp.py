"""The damping phi(t) = t/(t + epsilon·sgn t) of a signal, with its derivative in few passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def stabilise(z: Tensor, epsilon: float) -> Tensor:
    """Z + epsilon·sgn(z), sgn(0) = +1 (LRP_SPEC section 1)."""
    return torch.where(z >= 0, z + epsilon, z - epsilon)


def damp(
    g: Tensor, t: Tensor, epsilon: float, zero: Tensor | None = None, positive: bool = False
) -> Tensor:
    """Multiplies a signal by t/(t + epsilon·sgn t): one epsilon site.

    Args:
        g: Signal [K, *t.shape].
        t: Activation, channels on its second axis (its last, if it has no more).
        epsilon: Stabiliser, >= 0; at 0 the factor is 1 where t is not 0, else 0.
        zero: Zero-valued correction per channel [C] that belongs to the denominator alone
            (biases are constants there, LRP_SPEC 2.12); it receives the gradient -g·t/(..)^2.
        positive: True where t >= 0 is known: saves the sign.
    """
    damped: Tensor = _Damp.apply(g, t, zero, epsilon, positive)
    return damped


def damp_by(g: Tensor, t: Tensor, denominator: Tensor, epsilon: float) -> Tensor:
    """Multiplies a signal by t/(z + epsilon·sgn z), z a recomputed pre-activation.

    Args:
        g: Signal [K, *t.shape].
        t: Activation.
        denominator: z, like `t`.
        epsilon: Stabiliser, >= 0; at 0 the factor is 1 where t is not 0, else 0.
    """
    if epsilon == 0:
        return g * (t != 0)
    return g * (t / stabilise(denominator, epsilon)).to(g.dtype)


class _Damp(Function):
    @staticmethod
    def forward(
        ctx: Any, g: Tensor, t: Tensor, zero: Tensor | None, epsilon: float, positive: bool
    ) -> Tensor:
        ctx.save_for_backward(g, t)
        ctx.epsilon, ctx.positive = epsilon, positive
        if epsilon == 0:
            return g * (t != 0)
        return g * (t / (t + epsilon if positive else stabilise(t, epsilon))).to(g.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # With r = 1/(t + epsilon·sgn t) and q = t·r: d/dg = q, d/dt = g·r·(1-q), d/dzero = -g·q·r.
        (u,) = grads
        g, t = ctx.saved_tensors
        if ctx.epsilon == 0:
            return u * (t != 0), torch.zeros_like(t), None, None, None
        r = (t + ctx.epsilon if ctx.positive else stabilise(t, ctx.epsilon)).reciprocal_()
        q = t * r
        dg = u * q.to(u.dtype)
        dt = u * g
        dt = dt.mul_(r) if dt.dtype == r.dtype else dt * r
        dzero = None
        if ctx.needs_input_grad[2]:
            dzero = -(dt * q).sum(dim=_other_axes(dt.dim()))
        dt.mul_(q.neg_().add_(1))
        return dg, dt.sum(0) if dt.shape[0] > 1 else dt.squeeze(0), dzero, None, None


def _other_axes(dims: int) -> tuple[int, ...]:
    """Axes of [K, B, C, ...] but the channels'."""
    return (0, 1, *range(3, dims))
