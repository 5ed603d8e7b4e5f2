"""How products and quotients are run and recorded: who carries the relevance of a product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.ops import names
from isnet_lrp.ops.activation import Activation
from isnet_lrp.ops.structure import Concat, GlobalPool, Pool, Reshape, Sum
from isnet_lrp.record.graph import Graph, Local

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Tape

SHIFT = "add a number"  # name of a sum with a number, by which gates are told


def live(tape: Tape, values: Any) -> list[Tensor]:
    """The tensors among arguments that depend on the image, in order."""
    if isinstance(values, Tensor):
        return [values] if tape.slot(values) is not None else []
    if isinstance(values, (tuple, list)):
        return [t for v in values for t in live(tape, v)]
    return []


def halves(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """A product whose n factors that depend on the image get 1/n of its relevance each.

    Source: the uniform rule of Achtibat et al., AttnLRP, ICML 2024 (arXiv 2402.05602), section
    3.3.2. A gate among the factors is a constant and gets nothing.
    """
    factors = live(tape, (args, tuple(kwargs.values())))
    gates = [len(factors) > 1 and is_gate(tape, t) for t in factors]
    if all(gates):
        gates = [False] * len(factors)
    before = len(tape.graph.ops)
    out = tape.local(name, func, args, kwargs, keep=lambda position: not gates[position])
    if len(tape.graph.ops) > before:
        op = tape.graph.ops[-1]
        assert isinstance(op, Local)  # noqa: S101 - just recorded
        op.share = 1 / gates.count(False)
    return out


def is_gate(tape: Tape, tensor: Tensor, kernel: bool = False) -> bool:
    """Whether a factor is a gate or a weight, made from the image but constant in the pass.

    Such are sigmoids, exponentials and other functions with f(0) != 0, and saturating functions
    that are shifted by a number: relu6(x + 3)/6, 1 + erf(..), (1 + tanh(..))/2.

    Args:
        tape: The recording.
        tensor: The factor.
        kernel: Whether it is a convolution's kernel, which gates may mix from learned ones.
    """
    slot = tape.slot(tensor)
    return slot is not None and _gate(tape.graph, slot, PASSING | MIXING if kernel else PASSING)


def _gate(graph: Graph, slot: int, passing: frozenset[str]) -> bool:
    op = graph.maker[slot]
    if op is None:
        return False
    if isinstance(op, Activation):
        saturates = op.name in names.SATURATING
        return op.offset != 0 or (saturates and _shifted(graph, op.ins[0]))
    if isinstance(op, Sum) and op.name == SHIFT:
        return _gate(graph, op.ins[0], passing) or _saturated(graph, op.ins[0])
    passes = isinstance(op, (Concat, GlobalPool, Pool, Reshape, Sum)) or op.name in passing
    return passes and all(_gate(graph, before, passing) for before in op.ins)


def _saturated(graph: Graph, slot: int) -> bool:
    """Whether a saturating function made a slot, but for scale and shape."""
    op = graph.maker[slot]
    if op is None or len(op.ins) != 1:
        return False
    if isinstance(op, Activation):
        return op.name in names.SATURATING
    return op.name in PASSING and _saturated(graph, op.ins[0])


def _shifted(graph: Graph, slot: int) -> bool:
    """Whether a number was added to make a slot, or a function with f(0) != 0 made it."""
    op = graph.maker[slot]
    return _gate(graph, slot, PASSING) or (isinstance(op, Sum) and op.name == SHIFT)


# What may stand between a gate's function and its product.
PASSING = names.ROUTES | names.RESHAPES | {"mul", "div", "neg", "interpolate", "upsample"}
MIXING = frozenset({"matmul", "mm", "bmm", "einsum", "linear"})


def ratio(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Quotients: the denominator is a constant, as the statistics of norms.

    Source: Ali et al., ICML 2022 (arXiv 2202.07304), section 4.2.

    Raises:
        UnsupportedOperation: The quotient is rounded.
    """
    if kwargs.get("rounding_mode") is not None:
        raise UnsupportedOperation(f"{name} with rounding: no relevance rule")
    return first_only(tape, name, func, args, kwargs)


def first_only(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Operations that are linear in their first argument; the others are constants."""
    if not live(tape, args[0] if args else tuple(kwargs.values())[:1]):
        return tape.constant(func(*args, **kwargs))
    return tape.local(name, func, args, kwargs, keep=lambda position: position == 0)


def add_product(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """`addcmul` and `addcdiv`: a + value·b·c and a + value·b/c."""
    a, b, c = args[:3]
    value = args[3] if len(args) > 3 else kwargs.get("value", 1)
    with tape:
        product = torch.mul(b, c) if name == "addcmul" else torch.div(b, c)
        return torch.add(a, product if value == 1 else product * value)


def interpolation(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """`lerp`: a + w·(b - a)."""
    a, b, w = args if len(args) == 3 else (*args, *kwargs.values())
    with tape:
        return torch.add(a, torch.mul(torch.sub(b, a), w))
