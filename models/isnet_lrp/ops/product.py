"""Products, quotients and constants: who carries the relevance of a product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.ops.structure import PASSING, TEMPLATES
from isnet_lrp.record.graph import Local, Route
from isnet_lrp.record.table import records

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder

PRODUCTS = frozenset({"mul", "multiply", "matmul", "mm", "bmm", "einsum", "mv", "dot", "inner",
                      "tensordot", "bilinear"})  # fmt: skip
QUOTIENTS = frozenset({"div", "divide", "true_divide"})
# Attention weights, statistics and denominators: constants of the relevance pass.
CONSTANTS = frozenset({
    "softmax", "softmin", "gumbel_softmax", "var", "std", "var_mean", "std_mean", "norm",
    "vector_norm", "linalg_norm", "linalg_vector_norm", "rsqrt", "reciprocal", "rdiv", "detach",
})  # fmt: skip
# Constants as factors and in denominators; elsewhere without a rule.
FACTORS = frozenset({"log", "log2", "log10", "logsumexp"})
# What takes them as factors.
FACTORS_IN = PRODUCTS | QUOTIENTS | CONSTANTS | {"addcmul", "addcdiv"}
MIXING = frozenset({"matmul", "mm", "bmm", "einsum", "linear"})


def find_live(recorder: Recorder, values: Any) -> list[Tensor]:
    """The tensors among arguments that depend on the image, in order."""
    if isinstance(values, Tensor):
        return [values] if recorder.find_node(values) is not None else []
    if isinstance(values, (tuple, list)):
        return [t for v in values for t in find_live(recorder, v)]
    return []


@records(PRODUCTS - {"matmul", "mm"})
def record_product(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """A product whose n factors that depend on the image get 1/n of its relevance each.

    Source: the uniform rule of Achtibat et al., AttnLRP, ICML 2024 (arXiv 2402.05602), section
    3.3.2. A gate among the factors is a constant and gets nothing.
    """
    factors = find_live(recorder, (args, tuple(kwargs.values())))
    gates = [len(factors) > 1 and is_gate(recorder, t) for t in factors]
    if all(gates):
        gates = [False] * len(factors)
    return recorder.record_local(
        name, func, args, kwargs, keep=lambda position: not gates[position],
        part=1 / max(gates.count(False), 1),
    )  # fmt: skip


def is_gate(recorder: Recorder, tensor: Tensor, kernel: bool = False) -> bool:
    """Whether a factor is a gate or a weight, made from the image but constant in the pass.

    Such are sigmoids, exponentials and other functions with f(0) != 0, and saturating functions
    that are shifted by a number: relu6(x + 3)/6, 1 + erf(..), (1 + tanh(..))/2.

    Args:
        recorder: The recording.
        tensor: The factor.
        kernel: Whether it is a convolution's kernel, which gates may mix from learned ones.
    """
    node = recorder.find_node(tensor)
    passing = PASSING | MIXING if kernel else PASSING
    return node is not None and recorder.graph.is_gate(node, passing)


@records(QUOTIENTS)
def record_quotient(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Quotients: the denominator is a constant, as the statistics of norms.

    Source: Ali et al., ICML 2022 (arXiv 2202.07304), section 4.2.

    Raises:
        UnsupportedOperation: The quotient is rounded.
    """
    if kwargs.get("rounding_mode") is not None:
        raise UnsupportedOperation(f"{name} with rounding: no relevance rule")
    return record_first_only(recorder, name, func, args, kwargs)


@records(TEMPLATES)
def record_template(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Operations that move their first argument; the others give shape, type or place."""
    return record_first_only(recorder, name, func, args, kwargs, Route)


@records({"grid_sample", "deform_conv2d"})
def record_first_only(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any, kind: type[Local] = Local
) -> Any:
    """Operations that are linear in their first argument; the others are constants."""
    if not find_live(recorder, args[0] if args else tuple(kwargs.values())[:1]):
        return recorder.record_constant(func(*args, **kwargs))
    return recorder.record_local(name, func, args, kwargs, kind, lambda position: position == 0)


@records({"addcmul", "addcdiv"})
def record_add_product(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """`addcmul` and `addcdiv`: a + value·b·c and a + value·b/c."""
    a, b, c = args[:3]
    value = args[3] if len(args) > 3 else kwargs.get("value", 1)
    with recorder:
        product = torch.mul(b, c) if name == "addcmul" else torch.div(b, c)
        return torch.add(a, product if value == 1 else product * value)


@records({"lerp"})
def record_interpolation(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """`lerp`: a + w·(b - a)."""
    a, b, w = args if len(args) == 3 else (*args, *kwargs.values())
    with recorder:
        return torch.add(a, torch.mul(torch.sub(b, a), w))


@records(CONSTANTS)
def record_constant(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Functions whose results carry no relevance."""
    return recorder.record_constant(func(*args, **kwargs))


@records(FACTORS)
def record_factor(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Functions whose results may only be factors or denominators."""
    return recorder.record_factor(name, func(*args, **kwargs))
