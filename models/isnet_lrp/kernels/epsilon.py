"""The epsilon factor t/(t + epsilon·sgn t) of a signal, and its derivative in few passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def stabilise(z: Tensor, epsilon: float) -> Tensor:
    """The denominator z + epsilon·sgn(z), sgn(0) = +1 (docs/lrp.md, section 1)."""
    e = z.new_full((), epsilon)
    return torch.where(z < 0, -e, e) + z


def apply_epsilon_factor(
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
            (biases are constants there: docs/lrp.md, section 2.12); it receives the gradient
            -g·t/(..)^2.
        positive: True where t >= 0 is known: saves the sign.
        scale: Another factor per channel [C], or None.
    """
    found: Tensor = _ApplyEpsilonFactor.apply(g, t, zero, scale, EpsilonFactor(epsilon, positive))
    return found


def apply_recomputed_factor(g: Tensor, t: Tensor, denominator: Tensor, epsilon: float) -> Tensor:
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


class Derivatives(NamedTuple):
    """Derivatives of scale·q·g, q = t/d with d = t + epsilon·sgn t; None is 0 or was not asked for.

    Attributes:
        g: u·scale·q [K, *t.shape], u being the derivative by scale·q·g.
        t: Σ_K u·g·scale·epsilon·sgn(t)/d².
        zero: By the correction `zero` of `apply_epsilon_factor`: -Σ u·g·scale·q/d over all axes but
            the channels'.
        scale: Σ u·g·q over all axes but the channels'.
        signal: Not a derivative: scale·q·g itself.
    """

    g: Tensor
    t: Tensor | None = None
    zero: Tensor | None = None
    scale: Tensor | None = None
    signal: Tensor | None = None


@dataclass(frozen=True)
class EpsilonFactor:
    """Constants of a site: `epsilon`, and whether the activation is known to be `positive`.

    For Functions. Autograd sees none of it, but for `multiply` when a compiler traces the pass.
    """

    epsilon: float
    positive: bool

    def multiply(self, g: Tensor, t: Tensor, scale: Tensor | None) -> Tensor:
        """The signal scale·q·g, by operations that autograd can follow when a compiler traces them.

        Args:
            g: Signal [K, *t.shape].
            t: Activation.
            scale: Factor per channel, or None.
        """
        q = t / self._denominator(t) if self.epsilon > 0 else (t != 0).to(t.dtype)
        if scale is not None:
            q = q.mul_(per_channel(scale, t))
        if len(g) == 1 and q.dtype == g.dtype:
            return q.mul_(g[0])[None]
        return g * q.to(g.dtype)

    def differentiate(
        self,
        u: Tensor,
        g: Tensor,
        t: Tensor,
        scale: Tensor | None,
        *,
        zero: bool = False,
        signal: bool = False,
    ) -> Derivatives:
        """What a Function's backward pass hands on.

        Memory is passed as seldom as possible and written where it was just read: one map after
        the other, in two or three buffers.

        Args:
            u: Derivative by the multiplied signal [K, *t.shape].
            g: The signal [K, *t.shape].
            t: Activation.
            scale: Factor per channel, or None.
            zero: Whether the derivative by the correction is wanted.
            signal: Whether the multiplied signal is wanted.
        """
        if self.epsilon == 0:
            return self._of_gate(u, g, t, scale, signal)
        c = None if scale is None else per_channel(scale, t)
        # signals over epsilon leave half precision's range
        d = self._denominator(t.float() if t.dtype == torch.float16 else t)
        dg, product = torch.empty_like(u), torch.empty_like(g) if signal else None
        dt = dzero = dscale = None
        for k in range(len(g)):
            over = g[k] / d
            by = u[k] / d if k + 1 < len(g) or d.dtype != u.dtype else torch.div(u[k], d, out=d)
            if product is not None:
                torch.mul(over, t, out=product[k])
            torch.mul(by, t, out=dg[k])
            if c is not None:
                dscale = _plus(dscale, _by_channel(dg[k] * g[k], t))
            if zero:
                dzero = _plus(dzero, _by_channel(dg[k] * over, t).neg_())
            if dt is None:
                dt = torch.addcmul(over.new_zeros(()), over, by, value=self.epsilon, out=over)
            else:
                dt.addcmul_(over, by, value=self.epsilon)
        if c is not None:
            dg.mul_(c)
            dt = None if dt is None else dt.mul_(c)
            dzero = None if dzero is None or scale is None else dzero.mul_(scale)
            product = None if product is None else product.mul_(c)
        if not self.positive and dt is not None:
            dt = torch.where(t < 0, -dt, dt)
        return Derivatives(dg, None if dt is None else dt.to(t.dtype), dzero, dscale, product)

    def _denominator(self, t: Tensor) -> Tensor:
        return t + self.epsilon if self.positive else stabilise(t, self.epsilon)

    def _of_gate(
        self, u: Tensor, g: Tensor, t: Tensor, scale: Tensor | None, signal: bool
    ) -> Derivatives:
        """Epsilon 0: q is 1 or 0 and has no derivative."""
        q = (t != 0).to(g.dtype)
        c = None if scale is None else per_channel(scale, g[0]).to(g.dtype)
        open_ = q if c is None else q * c
        dscale = None if c is None else _by_channel((u * g).sum(0) * q, t)
        return Derivatives(u * open_, scale=dscale, signal=g * open_ if signal else None)


def _plus(total: Tensor | None, more: Tensor) -> Tensor:
    return more if total is None else total.add_(more)


def _by_channel(values: Tensor, t: Tensor) -> Tensor:
    """Sums [*t.shape] to [C], in the precision of t."""
    return values.sum(other_axes(t), dtype=t.dtype)


class _ApplyEpsilonFactor(Function):
    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        t: Tensor,
        zero: Tensor | None,
        scale: Tensor | None,
        factor: EpsilonFactor,
    ) -> Tensor:
        ctx.save_for_backward(g, t, scale)
        ctx.factor = factor
        return factor.multiply(g, t, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        g, t, scale = ctx.saved_tensors
        factor: EpsilonFactor = ctx.factor
        found = factor.differentiate(grads[0], g, t, scale, zero=ctx.needs_input_grad[2])
        return found.g, found.t, found.zero, found.scale, None


def per_channel(values: Tensor, t: Tensor) -> Tensor:
    """Values [C] in a shape that multiplies t [B, C, ...]."""
    return values.view(-1, *([1] * (t.dim() - 2)))


def other_axes(t: Tensor) -> tuple[int, ...]:
    """Axes of t [B, C, ...] but the channels'."""
    return (0, *range(2, t.dim()))
