"""From one ReLU's signal to that of the layer before: epsilon factor, BatchNorm's scale, Wᵀ.

As one autograd Function it keeps nothing but the signal that comes in, half of what the three
operations would keep, and computes the multiplied signal again when it is differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from isnet_lrp.kernels.convolution import ConvOptions
from isnet_lrp.kernels.epsilon import Derivatives, EpsilonFactor, apply_epsilon_factor, per_channel


@dataclass(frozen=True)
class Gate:
    """A ReLU on the way of a signal, not yet applied.

    Attributes:
        value: Its output t.
        epsilon: Stabiliser.
        zero: See `apply_epsilon_factor`.
    """

    value: Tensor
    epsilon: float
    zero: Tensor | None


@dataclass(frozen=True)
class HeldSignal:
    """A signal g [K, *shape] with factors that wait for the next operation: scale·t/(t+epsilon)·g.

    Attributes:
        g: The signal.
        gate: The ReLU behind, or None.
        scale: BatchNorm's gamma/s.d. [C], or None.
    """

    g: Tensor
    gate: Gate | None = None
    scale: Tensor | None = None

    def multiply_out(self) -> Tensor:
        """The signal with its factors."""
        g, gate, scale = self.g, self.gate, self.scale
        if gate is not None:
            return apply_epsilon_factor(
                g, gate.value, gate.epsilon, gate.zero, positive=True, scale=scale
            )
        return _scaled(g, scale)

    def carry_through(
        self,
        weight: Tensor,
        options: ConvOptions,
        size: tuple[int, int],
        ahead: Tensor | None = None,
    ) -> Tensor:
        """Wᵀ of the signal with its factors: the signal [K, B, I, H, W] of a convolution's input.

        Args:
            weight: [O, I/groups, kh, kw].
            options: Geometry.
            size: (H, W).
            ahead: Factor [I] of the signal that comes out (one group only), or None.
        """
        value, zero, epsilon = None, None, 0.0
        if self.gate is not None:
            value, zero, epsilon = self.gate.value, self.gate.zero, self.gate.epsilon
        fold = weight.numel() <= self.g.numel()
        step = _Step(options, size, EpsilonFactor(epsilon, positive=True), fold)
        found: Tensor = _Carry.apply(self.g, value, zero, self.scale, ahead, weight, step)
        return found


@dataclass(frozen=True)
class _Step:
    """Constants of one step; `fold`: the scale multiplies the weights, not the signal."""

    options: ConvOptions
    size: tuple[int, int]
    factor: EpsilonFactor
    fold: bool

    def behind(
        self, u: Tensor, g: Tensor, t: Tensor | None, scale: Tensor | None, zero: bool, signal: bool
    ) -> Derivatives:
        """`EpsilonFactor.differentiate`, also where there is no ReLU (t is None)."""
        if t is not None:
            return self.factor.differentiate(u, g, t, scale, zero=zero, signal=signal)
        dscale = None if scale is None else (u * g).sum((0, 1, 3, 4)).to(scale.dtype)
        product = _scaled(g, scale) if signal else None
        return Derivatives(_scaled(u, scale), scale=dscale, signal=product)


class _Carry(Function):
    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        t: Tensor | None,
        zero: Tensor | None,
        scale: Tensor | None,
        ahead: Tensor | None,
        weight: Tensor,
        step: _Step,
    ) -> Tensor:
        ctx.save_for_backward(g, t, scale, ahead, weight)
        ctx.step = step
        on_signal = None if step.fold else scale
        s = _scaled(g, on_signal) if t is None else step.factor.multiply(g, t, on_signal)
        w = _weight(weight, _matrix(scale if step.fold else None, ahead), g.dtype)
        found = step.options.transpose(s.flatten(0, 1), w, step.size)
        return found.view(*g.shape[:2], *found.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        g, t, scale, ahead, weight = ctx.saved_tensors
        step: _Step = ctx.step
        u = grads[0].flatten(0, 1)
        _, _, want_zero, want_scale, want_ahead, want_weight, _ = ctx.needs_input_grad
        on_weight, on_signal = (scale, None) if step.fold else (None, scale)
        matrix = _matrix(on_weight, ahead)
        w = _weight(weight, matrix, g.dtype)
        keep = want_weight or (want_scale and step.fold) or want_ahead
        found = step.behind(
            step.options.apply(u, w).view(g.shape), g, t, on_signal, want_zero, keep
        )
        dscale, dw, dahead = found.scale, None, None
        if keep and found.signal is not None:
            signal = found.signal.flatten(0, 1)
            dw = step.options.differentiate_weight(u, signal, w).to(weight.dtype)
        if matrix is not None and dw is not None:
            both = (dw * weight).sum((2, 3))
            if on_weight is not None:
                dscale = both.sum(1) if ahead is None else both @ ahead
            if ahead is not None:
                dahead = both.sum(0) if on_weight is None else on_weight @ both
            dw.mul_(matrix)
        dw = dw if want_weight else None
        return found.g, found.t, found.zero, dscale, dahead, dw, None


def _matrix(scale: Tensor | None, ahead: Tensor | None) -> Tensor | None:
    """What multiplies the weights: scale [O] times ahead [I], as [O or 1, I or 1, 1, 1]."""
    if scale is None:
        return None if ahead is None else ahead.view(1, -1, 1, 1)
    column = scale.view(-1, 1, 1, 1)
    return column if ahead is None else column * ahead.view(1, -1, 1, 1)


def _scaled(g: Tensor, scale: Tensor | None) -> Tensor:
    """The signal [K, B, O, h, w] times the factor [O]."""
    return g if scale is None else g * per_channel(scale, g[0]).to(g.dtype)


def _weight(weight: Tensor, matrix: Tensor | None, dtype: torch.dtype) -> Tensor:
    weight = weight.to(dtype)
    return weight if matrix is None else weight * matrix.to(dtype)
