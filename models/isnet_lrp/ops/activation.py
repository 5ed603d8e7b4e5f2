"""ReLU, other activations, and norms with constant statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isnet_lrp.kernels.epsilon import damp, damp_by, stabilise
from isnet_lrp.record.graph import Op, Signals


@dataclass(eq=False)
class Rectifier(Op):
    """ReLU: the signal is damped by a/(a+epsilon), a its output (LRP_SPEC 3.1).

    Attributes:
        value: The output a.
        epsilon: Stabiliser.
        zero: See `damp`; LRP Block's convention that biases are constants of the denominator.
        denominator: Another pre-activation to divide by, or None: a itself.
    """

    value: Tensor = None  # type: ignore[assignment]
    epsilon: float = 0.0
    zero: Tensor | None = None
    denominator: Tensor | None = None

    def signal(self, signals: Signals) -> Signals:
        """g·a/(a+epsilon)."""
        g = signals[0]
        if g is None:
            return [None]
        if self.denominator is not None:
            return [damp_by(g, self.value, self.denominator, self.epsilon)]
        return [damp(g, self.value, self.epsilon, self.zero, positive=True)]


@dataclass(eq=False)
class Activation(Op):
    """An elementwise function f by the proportional rule: the factor f(z)/(z + epsilon·sgn z).

    Relevance passes an elementwise function unchanged, f(z)·g = z·g' (identity rule; Achtibat et
    al., AttnLRP, ICML 2024, arXiv 2402.05602, section 3.3.1); for ReLU this is the factor of
    `Rectifier`. Where f(0) is not 0 it is a bias: the factor is (f(z) - f(0))/(z + epsilon·sgn z).

    Attributes:
        inner: z.
        value: f(z).
        epsilon: Stabiliser.
        offset: f(0).
        function: f itself; at epsilon 0 its slope stands for f(z)/z where z is next to 0.
    """

    inner: Tensor = None  # type: ignore[assignment]
    value: Tensor = None  # type: ignore[assignment]
    epsilon: float = 0.0
    offset: float = 0.0
    function: Callable[[Tensor], Tensor] | None = None

    def signal(self, signals: Signals) -> Signals:
        """g·f(z)/(z + epsilon·sgn z)."""
        g = signals[0]
        if g is None:
            return [None]
        if self.epsilon > 0 or self.function is None:
            safe = stabilise(self.inner, self.epsilon if self.epsilon > 0 else 1e-12)
            value = self.value - self.offset if self.offset else self.value
            return [g * (value / safe).to(g.dtype)]
        # Nearer to 0 the derivative of f(z)/z would lose all its digits.
        near = torch.finfo(self.inner.dtype).eps ** (2 / 3)
        sign = torch.where(self.inner >= 0, near, -near).to(self.inner.dtype)
        z = torch.where(self.inner.abs() < near, sign, self.inner)
        return [g * ((self.function(z) - self.offset) / z).to(g.dtype)]


@dataclass(eq=False)
class GroupedNorm(Op):
    """Layer, group or instance norm with constant standard deviation; centring is linear.

    Source: Ali et al., XAI for Transformers: Better Explanations through Conservative
    Propagation, ICML 2022 (arXiv 2202.07304), section 4.2. The deviation is a constant of the
    relevance pass; the training backward pass does see how it depends on the weights.

    Attributes:
        shape: View of the input [.., n] whose last axis shares its statistics.
        invstd: 1/s.d., broadcastable to that view.
        gamma: Weight broadcastable to the input, or None.
        centred: Whether the mean is taken away (not in RMS norm).
    """

    shape: tuple[int, ...] = ()
    invstd: Tensor = None  # type: ignore[assignment]
    gamma: Tensor | None = None
    centred: bool = True

    def signal(self, signals: Signals) -> Signals:
        """invstd·(v - mean v), v = gamma·g."""
        g = signals[0]
        if g is None:
            return [None]
        v = g if self.gamma is None else g * self.gamma.to(g.dtype)
        v = v.reshape(g.shape[0], *self.shape)
        if self.centred:
            v = v - v.mean(-1, keepdim=True)
        return [(v * self.invstd.to(g.dtype)).reshape(g.shape)]


def inverse_deviation(x: Tensor, eps: float) -> Tensor:
    """1/sqrt(var + eps) over the last axis (biased), kept as an axis of size 1."""
    return (x.var(-1, correction=0, keepdim=True) + eps).rsqrt()
