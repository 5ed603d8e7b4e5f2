"""The damping phi(t) = t/(t + epsilon·sgn t) of a signal, with its derivative in few passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def stabilise(z: Tensor, epsilon: float) -> Tensor:
    """The denominator z + epsilon·sgn(z), sgn(0) = +1 (LRP_SPEC section 1)."""
    e = z.new_full((), epsilon)
    return torch.where(z < 0, -e, e) + z


def damp(
    g: Tensor,
    t: Tensor,
    epsilon: float,
    zero: Tensor | None = None,
    positive: bool = False,
    scale: Tensor | None = None,
) -> Tensor:
    """Multiplies a signal by t/(t + epsilon·sgn t): one epsilon site.

    Args:
        g: Signal [K, *t.shape].
        t: Activation, channels on its second axis (its last, if it has no more).
        epsilon: Stabiliser, >= 0; at 0 the factor is 1 where t is not 0, else 0.
        zero: Zero-valued correction per channel [C] that belongs to the denominator alone
            (biases are constants there, LRP_SPEC 2.12); it receives the gradient -g·t/(..)^2.
        positive: True where t >= 0 is known: saves the sign.
        scale: Another factor per channel [C], or None.
    """
    found: Tensor = _Damp.apply(g, t, zero, scale, Damping(epsilon, positive))
    return found


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


@dataclass(frozen=True)
class Damping:
    """Constants of a site: `epsilon`, and whether the activation is known to be `positive`.

    Its methods work out of autograd's sight, for Functions.
    """

    epsilon: float
    positive: bool

    def factor(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The denominator d = t + epsilon·sgn t and the factor t/d; at epsilon 0 it is t != 0."""
        if self.epsilon == 0:
            return t, (t != 0).to(t.dtype)
        d = t + self.epsilon if self.positive else stabilise(t, self.epsilon)
        return d, t / d

    def backward(
        self,
        u: Tensor,
        g: Tensor,
        t: Tensor,
        scale: Tensor | None,
        zero: bool,
        factor: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Derivatives of scale·q·g by g, by t, by `zero` (if wanted) and by scale; None is 0.

        With the factor q = t/d and p = Σ_K u·g they are u·scale·q, p·scale·epsilon·sgn(t)/d²,
        -Σ p·scale·q/d and Σ p·q, the last two summed over all axes but the channels'.

        Args:
            u: Derivative by the damped signal [K, *t.shape].
            g: The signal [K, *t.shape].
            t: Activation.
            scale: Factor per channel, or None.
            zero: Whether the derivative by `zero` is wanted.
            factor: d and q, which are overwritten.
        """
        d, q = factor
        p = None
        if scale is not None or self.epsilon > 0:
            p = u * g
            p = (p.squeeze(0) if len(p) == 1 else p.sum(0)).to(t.dtype)
        dscale = dt = dzero = None
        if p is not None and scale is not None:
            dscale = (p * q).sum(other_axes(t))
            q.mul_(per_channel(scale, t))
        if p is not None and self.epsilon > 0:
            if zero:
                dzero = -(p * q / d).sum(other_axes(t))
            dt = p.div_(d) if scale is None else p.mul_(per_channel(scale, t)).div_(d)
            if not self.positive:
                dt = torch.where(t < 0, -dt, dt)
            dt = torch.addcdiv(dt.new_zeros(()), dt, d, value=self.epsilon)
        return u * q.to(u.dtype), dt, dzero, dscale


class _Damp(Function):
    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        t: Tensor,
        zero: Tensor | None,
        scale: Tensor | None,
        damping: Damping,
    ) -> Tensor:
        ctx.save_for_backward(g, t, scale)
        ctx.damping = damping
        _, q = damping.factor(t)
        if scale is not None:
            q.mul_(per_channel(scale, t))
        return g * q.to(g.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        g, t, scale = ctx.saved_tensors
        damping: Damping = ctx.damping
        zero = ctx.needs_input_grad[2]
        return *damping.backward(grads[0], g, t, scale, zero, damping.factor(t)), None


def per_channel(values: Tensor, t: Tensor) -> Tensor:
    """Values [C] in a shape that multiplies t [B, C, ...]."""
    return values.view(-1, *([1] * (t.dim() - 2)))


def other_axes(t: Tensor) -> tuple[int, ...]:
    """Axes of t [B, C, ...] but the channels'."""
    return (0, *range(2, t.dim()))
