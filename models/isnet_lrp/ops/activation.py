"""ReLU and other elementwise functions: names, recording and rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.kernels.epsilon import apply_epsilon_factor, apply_recomputed_factor, stabilise
from isnet_lrp.ops.structure import first_argument
from isnet_lrp.record.graph import Op, Signals

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder

RELU = frozenset({"relu"})
# f(0) = 0: the proportional rule.
ACTIVATIONS = frozenset({
    "relu6", "hardtanh", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "leaky_relu",
    "prelu", "rrelu", "tanh", "tanhshrink", "softsign", "softshrink", "hardshrink", "clamp",
    "clip", "clamp_min", "clamp_max", "pow", "square", "sqrt", "threshold", "sin", "sinh", "atan",
    "arctan", "asinh", "arcsinh", "erf", "expm1", "log1p",
})  # fmt: skip
# Among them those whose bounds decide whether f(0) = 0; else a bound takes what it replaces.
BOUNDED = frozenset({"hardtanh", "clamp", "clip", "clamp_min", "clamp_max", "threshold"})
# Among them those with bounds: shifted, they are gates written by hand.
SATURATING = frozenset({"relu6", "hardtanh", "tanh", "erf", "softsign", "atan", "arctan", "clamp",
                        "clip"})  # fmt: skip
# f(0) is not 0: gates and weights where they multiply; elsewhere f(0) is a bias.
OFFSET = frozenset({"sigmoid", "expit", "special_expit", "hardsigmoid", "softplus", "logsigmoid",
                    "exp", "exp2", "cos", "cosh", "erfc", "rpow"})  # fmt: skip


@dataclass(eq=False)
class ReLU(Op):
    """ReLU: the signal gets the epsilon factor a/(a+epsilon), a its output.

    Source: docs/lrp.md, section 3.1.

    Attributes:
        value: The output a.
        epsilon: Stabiliser.
        zero: See `apply_epsilon_factor`; LRP Block's convention that biases are constants of the
            denominator.
        denominator: Another pre-activation to divide by, or None: a itself.
    """

    value: Tensor = None  # type: ignore[assignment]
    epsilon: float = 0.0
    zero: Tensor | None = None
    denominator: Tensor | None = None

    def propagate(self, signals: Signals) -> Signals:
        """g·a/(a+epsilon)."""
        g = signals[0]
        if g is None:
            return [None]
        if self.denominator is not None:
            return [apply_recomputed_factor(g, self.value, self.denominator, self.epsilon)]
        return [apply_epsilon_factor(g, self.value, self.epsilon, self.zero, positive=True)]


@dataclass(eq=False)
class Activation(Op):
    """An elementwise function f by the proportional rule: the factor f(z)/(z + epsilon·sgn z).

    Relevance passes an elementwise function unchanged, f(z)·g = z·g' (identity rule; Achtibat et
    al., AttnLRP, ICML 2024, arXiv 2402.05602, section 3.3.1); for ReLU this is the factor of
    `ReLU`. Where f(0) is not 0 it is a bias: the factor is (f(z) - f(0))/(z + epsilon·sgn z).

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

    def propagate(self, signals: Signals) -> Signals:
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


def record_relu(
    recorder: Recorder, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """ReLU."""
    x = first_argument(args, kwargs)
    y = torch.relu(x)
    op = ReLU(name, (), value=y, epsilon=recorder.rules.epsilon)
    recorder.record(op, (x,), (y,))
    recorder.extend_first(op, y)
    return y


def record_activation(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Any other elementwise function."""
    x = first_argument(args, kwargs)
    rest = {k: v for k, v in kwargs.items() if k != "input"}
    given = (*args[1:], *rest.values())
    if name in BOUNDED and _displaces_zero(func, args[1:], rest):
        return recorder.record_local(name, func, args, kwargs)  # the bound wins, or the value
    if name == "pow" and not _positive(given[0]):
        return recorder.record_constant(func(*args, **kwargs))  # a denominator
    if any(isinstance(v, Tensor) and recorder.find_node(v) is not None for v in given):
        raise UnsupportedOperation(f"{name}: its parameter depends on the image")

    def function(z: Tensor) -> Tensor:
        found: Tensor = func(z, *args[1:], **rest)
        return found

    y = function(x)
    op = Activation(name, (), inner=x, value=y, epsilon=recorder.rules.epsilon,
                    offset=_at_zero(function) if name in OFFSET else 0.0,
                    function=None if name == "rrelu" else function)  # fmt: skip
    recorder.record(op, (x,), (y,))
    recorder.extend_first(op, y)
    return y


def _at_zero(function: Callable[[Tensor], Tensor]) -> float:
    return float(function(torch.zeros((), dtype=torch.float64)))


def _displaces_zero(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    if any(isinstance(v, Tensor) for v in (*args, *kwargs.values())):
        return True
    return bool(func(torch.zeros(()), *args, **kwargs) != 0)


def _positive(exponent: Any) -> bool:
    """Whether an exponent is positive; a learned one is taken to be (no look at its value)."""
    return isinstance(exponent, Tensor) or exponent > 0


def record_glu(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Gated linear unit: the gate is a constant."""
    x = first_argument(args, kwargs)
    dim = args[1] if len(args) > 1 else kwargs.get("dim", -1)
    with recorder:
        value, gate = x.chunk(2, dim)
        return value * torch.sigmoid(gate)
