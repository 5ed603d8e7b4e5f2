"""The step from one ReLU's signal to that of the layer before: damping, BatchNorm's scale, Wᵀ.

As one autograd Function it keeps nothing but the signal that comes in, half of what the three
operations would keep, and computes the damped signal again when it is differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from isnet_models.lrp.affine import ConvOptions
from isnet_models.lrp.damp import damp, damped, damped_backward


@dataclass(frozen=True)
class Gate:
    """A ReLU on the way of a signal, not yet applied.

    Attributes:
        value: Its output t.
        epsilon: Stabiliser.
        zero: See `damp`.
    """

    value: Tensor
    epsilon: float
    zero: Tensor | None


@dataclass(frozen=True)
class Held:
    """A signal g [K, *shape] with factors that wait for the next operation: scale·t/(t+epsilon)·g.

    Attributes:
        g: The signal.
        gate: The ReLU behind, or None.
        scale: BatchNorm's gamma/s.d. [C], or None.
    """

    g: Tensor
    gate: Gate | None = None
    scale: Tensor | None = None

    def whole(self) -> Tensor:
        """The signal with its factors."""
        g, gate = self.g, self.gate
        if gate is not None:
            g = damp(g, gate.value, gate.epsilon, gate.zero, positive=True)
        if self.scale is not None:
            g = g * self.scale.to(g.dtype).view(-1, *([1] * (g.dim() - 3)))
        return g

    def carried(self, weight: Tensor, options: ConvOptions, size: tuple[int, int]) -> Tensor:
        """Wᵀ of the signal with its factors: the signal [K, B, I, H, W] of a convolution's input.

        Args:
            weight: [O, I/groups, kh, kw].
            options: Geometry.
            size: (H, W).
        """
        value, zero, epsilon = None, None, 0.0
        if self.gate is not None:
            value, zero, epsilon = self.gate.value, self.gate.zero, self.gate.epsilon
        step = _Step(options, size, epsilon, weight.numel() <= self.g.numel())
        found: Tensor = _Carry.apply(self.g, value, zero, self.scale, weight, step)
        return found


@dataclass(frozen=True)
class _Step:
    """Constants of one step; `fold`: the scale multiplies the weights, not the signal."""

    options: ConvOptions
    size: tuple[int, int]
    epsilon: float
    fold: bool


class _Carry(Function):
    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        t: Tensor | None,
        zero: Tensor | None,
        scale: Tensor | None,
        weight: Tensor,
        step: _Step,
    ) -> Tensor:
        ctx.save_for_backward(g, t, scale, weight)
        ctx.step = step
        s, w = _factors(g, t, scale, weight, step)
        found = step.options.transpose(s.flatten(0, 1), w, step.size)
        return found.view(*g.shape[:2], *found.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        g, t, scale, weight = ctx.saved_tensors
        step: _Step = ctx.step
        u = grads[0].flatten(0, 1)
        _, _, want_zero, want_scale, want_weight, _ = ctx.needs_input_grad
        s, w = _factors(g, t, scale, weight, step)
        dw = dscale = dt = dzero = None
        if want_weight or (want_scale and step.fold):
            dw = step.options.weight_gradient(u, s.flatten(0, 1), w).to(weight.dtype)
        dg = step.options.apply(u, w).view(g.shape)
        if scale is not None and step.fold:
            column = scale.view(-1, 1, 1, 1)
            dscale = (dw * weight).sum((1, 2, 3)) if want_scale else None
            dw = dw * column if want_weight else None
        elif scale is not None:
            inner = g if t is None else damped(g, t, step.epsilon, True)
            dscale = (dg * inner).sum((0, 1, 3, 4)).to(scale.dtype) if want_scale else None
            dg = dg * scale.to(dg.dtype).view(-1, 1, 1)
        if t is not None:
            dg, dt, dzero = damped_backward(dg, g, t, step.epsilon, True, want_zero)
        return dg, dt, dzero, dscale, dw if want_weight else None, None


def _factors(
    g: Tensor, t: Tensor | None, scale: Tensor | None, weight: Tensor, step: _Step
) -> tuple[Tensor, Tensor]:
    """The signal and the weights with all factors."""
    if t is not None:
        g = damped(g, t, step.epsilon, True)
    weight = weight.to(g.dtype)
    if scale is None:
        return g, weight
    scale = scale.to(g.dtype)
    if step.fold:
        return g, weight * scale.view(-1, 1, 1, 1)
    return g * scale.view(-1, 1, 1), weight
