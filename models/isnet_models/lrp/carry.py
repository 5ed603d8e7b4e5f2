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
from isnet_models.lrp.damp import Damping, damp, per_channel


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
        g, gate, scale = self.g, self.gate, self.scale
        if gate is not None:
            return damp(g, gate.value, gate.epsilon, gate.zero, positive=True, scale=scale)
        return g if scale is None else g * per_channel(scale, g[0]).to(g.dtype)

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
        fold = weight.numel() <= self.g.numel()
        step = _Step(options, size, Damping(epsilon, positive=True), fold)
        found: Tensor = _Carry.apply(self.g, value, zero, self.scale, weight, step)
        return found


@dataclass(frozen=True)
class _Step:
    """Constants of one step; `fold`: the scale multiplies the weights, not the signal."""

    options: ConvOptions
    size: tuple[int, int]
    damping: Damping
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
            dscale = (dw * weight).sum((1, 2, 3)) if want_scale else None
            dw = dw * scale.view(-1, 1, 1, 1) if want_weight else None
            scale = None
        if t is not None:
            dg, dt, dzero, by_scale = step.damping.backward(dg, g, t, scale, want_zero)
            dscale = dscale if by_scale is None else by_scale
        elif scale is not None:
            dscale = (dg * g).sum((0, 1, 3, 4)).to(scale.dtype) if want_scale else None
            dg = dg * per_channel(scale, g[0]).to(dg.dtype)
        return dg, dt, dzero, dscale, dw if want_weight else None, None


def _factors(
    g: Tensor, t: Tensor | None, scale: Tensor | None, weight: Tensor, step: _Step
) -> tuple[Tensor, Tensor]:
    """The signal and the weights with all factors."""
    weight = weight.to(g.dtype)
    if scale is not None and step.fold:
        weight = weight * scale.to(g.dtype).view(-1, 1, 1, 1)
        scale = None
    if t is not None:
        g = step.damping.forward(g, t, scale)
    elif scale is not None:
        g = g * per_channel(scale, g[0]).to(g.dtype)
    return g, weight
