"""The damping phi(t) = t/(t + epsilon·sgn t) of a signal, with its derivative in few passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def stabilise(z: Tensor, epsilon: float) -> Tensor:
    """The denominator z + epsilon·sgn(z), sgn(0) = +1 (LRP_SPEC section 1)."""
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
        return damped(g, t, epsilon, positive)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        g, t = ctx.saved_tensors
        zero = ctx.needs_input_grad[2]
        return *damped_backward(grads[0], g, t, ctx.epsilon, ctx.positive, zero), None, None


def damped(g: Tensor, t: Tensor, epsilon: float, positive: bool) -> Tensor:
    """g·t/(t + epsilon·sgn t), out of autograd's sight. Arguments: see `damp`."""
    if epsilon == 0:
        return g * (t != 0)
    d = t + epsilon if positive else stabilise(t, epsilon)
    return g * torch.div(t, d, out=d).to(g.dtype)


def damped_backward(
    u: Tensor, g: Tensor, t: Tensor, epsilon: float, positive: bool, zero: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Derivatives of `damped` by g, by t and, if wanted, by `zero`; None is 0.

    With d = t + epsilon·sgn t they are u·t/d, Σ_K u·g·epsilon·sgn(t)/d² and -Σ u·g·t/d².

    Args:
        u: Derivative by the damped signal [K, *t.shape].
        g: The signal [K, *t.shape].
        t: Activation.
        epsilon: Stabiliser.
        positive: Whether t >= 0.
        zero: Whether the last one is wanted.
    """
    if epsilon == 0:
        return u * (t != 0), None, None
    d = t + epsilon if positive else stabilise(t, epsilon)
    if u.dtype == t.dtype:
        p = u / d
        dg = p * t
        p.mul_(g)
    else:
        dg = u * (t / d).to(u.dtype)
        p = (u * g) / d
    w = p.squeeze(0) if len(p) == 1 else p.sum(0)
    dzero = -(w * t / d).sum(dim=(0, *range(2, w.dim()))) if zero else None
    if not positive:
        w = torch.where(t >= 0, w, -w)
    return dg, torch.addcdiv(w.new_zeros(()), w, d, value=epsilon), dzero
