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

    def forward(self, g: Tensor, t: Tensor, scale: Tensor | None) -> Tensor:
        """scale·g·t/(t + epsilon·sgn t). Arguments: see `damp`."""
        if self.epsilon == 0:
            g = g * (t != 0)
            return g if scale is None else g * per_channel(scale, t).to(g.dtype)
        d = self._denominator(t)
        torch.div(t, d, out=d)
        if scale is not None:
            d.mul_(per_channel(scale, t))
        return g * d.to(g.dtype)

    def backward(
        self, u: Tensor, g: Tensor, t: Tensor, scale: Tensor | None, zero: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Derivatives of `forward` by g, by t, by `zero` (if wanted) and by scale; None is 0.

        With d = t + epsilon·sgn t and p = Σ_K u·g/d they are u·scale·t/d, p·scale·epsilon·sgn(t)/d,
        -Σ p·scale·t/d and Σ p·t, the last two summed over all axes but the channels'.

        Args:
            u: Derivative by the damped signal [K, *t.shape].
            g: The signal [K, *t.shape].
            t: Activation.
            scale: Factor per channel, or None.
            zero: Whether the derivative by `zero` is wanted.
        """
        if self.epsilon == 0:
            return self._open(u, g, t, scale)
        d = self._denominator(t)
        q = t / d
        if scale is not None:
            q.mul_(per_channel(scale, t))
        dg = u * q.to(u.dtype)
        p = u * g
        p = (p.squeeze(0) if len(p) == 1 else p.sum(0)) / d
        dscale = dzero = None
        if scale is not None:
            dscale = (p * t).sum(other_axes(t))
            p.mul_(per_channel(scale, t))
        if zero:
            dzero = -(p * t / d).sum(other_axes(t))
        if not self.positive:
            p = torch.where(t < 0, -p, p)
        return dg, torch.addcdiv(p.new_zeros(()), p, d, value=self.epsilon), dzero, dscale

    def _open(
        self, u: Tensor, g: Tensor, t: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, None, None, Tensor | None]:
        """Derivatives at epsilon 0, where the factor is 0 or 1."""
        u = u * (t != 0)
        if scale is None:
            return u, None, None, None
        dscale = (u * g).sum((0, *(axis + 1 for axis in other_axes(t))))
        return u * per_channel(scale, t).to(u.dtype), None, None, dscale.to(scale.dtype)

    def _denominator(self, t: Tensor) -> Tensor:
        return t + self.epsilon if self.positive else stabilise(t, self.epsilon)


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
        return damping.forward(g, t, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        g, t, scale = ctx.saved_tensors
        return *ctx.damping.backward(grads[0], g, t, scale, ctx.needs_input_grad[2]), None


def per_channel(values: Tensor, t: Tensor) -> Tensor:
    """Values [C] in a shape that multiplies t [B, C, ...]."""
    return values.view(-1, *([1] * (t.dim() - 2)))


def other_axes(t: Tensor) -> tuple[int, ...]:
    """Axes of t [B, C, ...] but the channels'."""
    return (0, *range(2, t.dim()))
