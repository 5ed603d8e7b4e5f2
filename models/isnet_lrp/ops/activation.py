"""ReLU and other elementwise functions: names, recording and rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.kernels.epsilon import apply_epsilon_factor, apply_recomputed_factor, stabilise
from isnet_lrp.ops.structure import PASSING, first_argument
from isnet_lrp.record.graph import Graph, Local, Op, Place, Signals
from isnet_lrp.record.sites import Sites, count_channels, gather_denominators, gather_zeros
from isnet_lrp.record.table import records

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
class Elementwise(Op):
    """A function of each value: relevance passes it unchanged.

    Attributes:
        value: The output.
        epsilon: Stabiliser.
    """

    value: Tensor = None  # type: ignore[assignment]
    epsilon: float = 0.0
    place: ClassVar[Place] = Place.ACTIVATION

    def activation(self) -> Tensor:
        """The output."""
        return self.value

    def share(self, relevance: Signals, epsilon: float) -> Signals:
        """The relevance itself."""
        return relevance

    def takes_in_sites(self) -> bool:
        """Its factor is that of the site."""
        return True


@dataclass(eq=False)
class ReLU(Elementwise):
    """ReLU: the signal gets the epsilon factor a/(a+epsilon), a its output.

    Source: docs/lrp.md, section 3.1.

    Attributes:
        zero: See `apply_epsilon_factor`; LRP Block's convention that biases are constants of the
            denominator.
        denominator: Another pre-activation to divide by, or None: a itself.
    """

    zero: Tensor | None = None
    denominator: Tensor | None = None

    @property
    def fuses(self) -> str:
        """Where it divides by its own value."""
        return "gate" if self.denominator is None else ""

    def propagate(self, signals: Signals) -> Signals:
        """g·a/(a+epsilon)."""
        g = signals[0]
        if g is None:
            return [None]
        if self.denominator is not None:
            return [apply_recomputed_factor(g, self.value, self.denominator, self.epsilon)]
        return [apply_epsilon_factor(g, self.value, self.epsilon, self.zero, positive=True)]

    def nonnegative(self, graph: Graph) -> bool:
        """Always."""
        return True

    def make_sites(
        self, read: Sequence[Sites], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> Sites:
        """None; it divides by the affine output before it, if there is one."""
        self.zero = gather_zeros(read[0], count_channels(outputs[0]))
        self.denominator = gather_denominators(read[0], inputs[0], self.zero)
        if not read[0]:  # nothing affine before it: relevance passes unchanged
            self.epsilon = 0.0
        return ()


@dataclass(eq=False)
class Activation(Elementwise):
    """An elementwise function f by the proportional rule: the factor f(z)/(z + epsilon·sgn z).

    Relevance passes an elementwise function unchanged, f(z)·g = z·g' (identity rule; Achtibat et
    al., AttnLRP, ICML 2024, arXiv 2402.05602, section 3.3.1); for ReLU this is the factor of
    `ReLU`. Where f(0) is not 0 it is a bias: the factor is (f(z) - f(0))/(z + epsilon·sgn z).

    Attributes:
        inner: z.
        offset: f(0).
        function: f itself; at epsilon 0 its slope stands for f(z)/z where z is next to 0.
    """

    inner: Tensor = None  # type: ignore[assignment]
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

    def is_gate(self, graph: Graph, passing: frozenset[str]) -> bool:
        """With f(0) != 0, or saturating and shifted by a number: relu6(x + 3), 1 + tanh."""
        if self.offset != 0 or self.name not in SATURATING:
            return self.offset != 0
        before = graph.maker[self.ins[0]]
        shifted = before is not None and before.shifts()
        return shifted or graph.is_gate(self.ins[0], PASSING)

    def saturates(self, graph: Graph, passing: frozenset[str]) -> bool:
        """By its name."""
        return self.name in SATURATING


@dataclass(eq=False)
class Slope(Local):
    """An elementwise function whose rule is its own slope, for families that want it so."""

    place: ClassVar[Place] = Place.ACTIVATION

    def activation(self) -> Tensor:
        """The output."""
        return self.outputs[0]


def record_slope(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """An elementwise function by its slope, whatever its kind."""
    before = len(recorder.graph.ops)
    y = recorder.record_local(name, func, args, kwargs, Slope)
    if len(recorder.graph.ops) > before:
        recorder.extend_first(recorder.graph.ops[-1], y)
    return y


@records(RELU)
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


@records(ACTIVATIONS | OFFSET)
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

    return _record(recorder, name, function, x, name in OFFSET, name != "rrelu")


def record_any_activation(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """An elementwise function that no table knows; f(0) is looked at."""
    x = first_argument(args, kwargs)
    rest = {k: v for k, v in kwargs.items() if k != "input"}
    return _record(recorder, name, lambda z: func(z, *args[1:], **rest), x, True, True)


def _record(
    recorder: Recorder,
    name: str,
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    offset: bool,
    repeatable: bool,
) -> Tensor:
    y = function(x)
    op = Activation(name, (), inner=x, value=y, epsilon=recorder.rules.epsilon,
                    offset=_at_zero(function) if offset else 0.0,
                    function=function if repeatable else None)  # fmt: skip
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


@records({"glu"})
def record_glu(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Gated linear unit: the gate is a constant."""
    x = first_argument(args, kwargs)
    dim = args[1] if len(args) > 1 else kwargs.get("dim", -1)
    with recorder:
        value, gate = x.chunk(2, dim)
        return value * torch.sigmoid(gate)
