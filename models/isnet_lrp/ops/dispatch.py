"""How each kind of operation is run and recorded; weights, norms and products apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isnet_lrp.errors import RelevanceWarning, UnsupportedOperation
from isnet_lrp.ops import names, norms, products, weights
from isnet_lrp.ops.activation import Activation, Rectifier
from isnet_lrp.ops.affine import pair
from isnet_lrp.ops.attention import attend, multi_head_attention
from isnet_lrp.ops.structure import Concat, GlobalPool, MaxPool, Pool, Reshape, Sum

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Tape

Handler = Callable[["Tape", str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    found: Tensor = args[0] if args else kwargs["input"]
    return found


def _kept(tape: Tape, value: Tensor) -> Tensor | None:
    return value if tape.rules.values else None


def relu(tape: Tape, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """ReLU."""
    x = _first(args, kwargs)
    y = torch.relu(x)
    op = Rectifier(name, (), value=y, epsilon=tape.rules.epsilon)
    tape.record(op, (x,), (y,))
    tape.extend_first(op, y)
    return y


def activation(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Any other elementwise function."""
    x = _first(args, kwargs)
    rest = {k: v for k, v in kwargs.items() if k != "input"}
    given = (*args[1:], *rest.values())
    if name in names.BOUNDED and _displaces_zero(func, args[1:], rest):
        return tape.local(name, func, args, kwargs)  # the bound wins, or the value
    if name == "pow" and not _positive(given[0]):
        return tape.constant(func(*args, **kwargs))  # a denominator
    if any(isinstance(v, Tensor) and tape.slot(v) is not None for v in given):
        raise UnsupportedOperation(f"{name}: its parameter depends on the image")

    def function(z: Tensor) -> Tensor:
        found: Tensor = func(z, *args[1:], **rest)
        return found

    y = function(x)
    op = Activation(name, (), inner=x, value=y, epsilon=tape.rules.epsilon,
                    offset=_at_zero(function) if name in names.OFFSET else 0.0,
                    function=None if name == "rrelu" else function)  # fmt: skip
    tape.record(op, (x,), (y,))
    tape.extend_first(op, y)
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


def max_pool(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Two-dimensional max pooling."""

    def parse(
        input: Tensor,  # noqa: A002
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Tensor, Any, Any, Any, Any, bool, bool]:
        return input, kernel_size, stride, padding, dilation, ceil_mode, return_indices

    x, kernel, stride, padding, dilation, ceil, both = parse(*args, **kwargs)
    stride = kernel if stride is None or stride == [] else stride
    y, indices = torch.ops.aten.max_pool2d_with_indices(
        x, pair(kernel), pair(stride), pair(padding), pair(dilation), ceil
    )
    op = MaxPool(
        name, (), inner=x, indices=indices, kernel=pair(kernel), stride=pair(stride),
        padding=pair(padding), dilation=pair(dilation), ceil=ceil, value=_kept(tape, y),
    )  # fmt: skip
    tape.record(op, (x,), (y,))
    return (y, indices) if both or name.endswith("with_indices") else y


def pool(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Average pooling and means."""
    x = _first(args, kwargs)
    size = args[1] if len(args) > 1 else kwargs.get("output_size")
    if name == "adaptive_avg_pool2d" and size in (1, (1, 1), [1, 1]) and x.dim() == 4:
        y = x.mean((2, 3), keepdim=True)
        op = GlobalPool(name, (), size=(x.shape[2], x.shape[3]),
                        inner=_kept(tape, x), value=_kept(tape, y))  # fmt: skip
        tape.record(op, (x,), (y,))
        return y
    return tape.local(name, func, args, kwargs, Pool)


SIGNS = {"add": (1, 1), "sub": (1, -1), "subtract": (1, -1), "rsub": (-1, 1)}


def addition(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Sums and differences, with constants or between tensors of one shape."""
    a, b = args[0], args[1] if len(args) > 1 else kwargs["other"]
    terms = [(t, s) for t, s in zip((a, b), SIGNS[name], strict=True)
             if isinstance(t, Tensor) and tape.slot(t) is not None]  # fmt: skip
    y = func(*args, **kwargs) if not kwargs and len(args) == 2 else None
    if y is None or any(t.shape != y.shape for t, _ in terms):
        return tape.local(name, func, args, kwargs)
    number = not isinstance(a, Tensor) or not isinstance(b, Tensor)
    op = Sum(products.SHIFT if number else name, (), sign=tuple(s for _, s in terms),
             values=tuple(t for t, _ in terms) if tape.rules.values else ())  # fmt: skip
    tape.record(op, tuple(t for t, _ in terms), (y,))
    return y


def concatenation(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Concatenation."""
    parts = list(args[0] if args else kwargs["tensors"])
    axis = int(args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0)))
    y = torch.cat(parts, axis)
    live = tuple(i for i, t in enumerate(parts) if tape.slot(t) is not None)
    axis = axis % y.dim()
    op = Concat(name, (), axis=axis, sizes=tuple(t.shape[axis] for t in parts), live=live)
    tape.record(op, tuple(parts[i] for i in live), (y,))
    if axis == 1 and len(live) == len(parts):
        op.before = tape.graph.join(op.ins, op.outs[0])
    return y


def reshape(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Views of the same elements."""
    x = args[0]
    if tape.slot(x) is None:  # only the shape is the image's
        return tape.constant(func(*args, **kwargs))
    y = func(*args, **kwargs)
    if y is x:
        return y
    if not (isinstance(y, Tensor) and y.dtype == x.dtype and y.numel() == x.numel()):
        return tape.local(name, func, args, kwargs)
    tape.record(Reshape(name, (), shape=tuple(x.shape)), (x,), (y,))
    return y


def local(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Linear operations, and selections, whose winner takes all."""
    return tape.local(name, func, args, kwargs)


def homogeneous(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Positively homogeneous functions: their own gradient conserves relevance."""
    warnings.warn(
        f"{name}: no relevance rule of its own; its gradient is used, which conserves relevance "
        "since the function is homogeneous",
        RelevanceWarning,
        stacklevel=2,
    )
    return tape.local(name, func, args, kwargs)


def glu(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Gated linear unit: the gate is a constant."""
    x = _first(args, kwargs)
    dim = args[1] if len(args) > 1 else kwargs.get("dim", -1)
    with tape:
        value, gate = x.chunk(2, dim)
        return value * torch.sigmoid(gate)


def dropout(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Dropout: linear while training, nothing otherwise."""
    given = dict(zip(("input", "p", "training"), args, strict=False)) | kwargs
    if not given.get("training", True) or given.get("p", 0.5) == 0:
        return given["input"]
    return tape.local(name, func, args, kwargs)


def _table() -> dict[str, Handler]:
    table: dict[str, Handler] = {}
    for group, handler in (
        (names.RELU, relu), (names.ACTIVATIONS | names.OFFSET, activation), (names.LINEAR, local),
        (names.RESHAPES, reshape), (names.SELECTIONS, local), (names.HOMOGENEOUS, homogeneous),
        (names.POOLS, pool), (names.PRODUCTS, products.halves), (names.QUOTIENTS, products.ratio),
        (names.ADDITIONS, addition), (names.CONCATENATIONS, concatenation),
        (names.DROPOUTS, dropout), (names.CONVOLUTIONS, weights.other_convolution),
        (names.TEMPLATES, products.first_only),
    ):  # fmt: skip
        table |= dict.fromkeys(group, handler)
    return table | {
        "conv2d": weights.convolution, "linear": weights.linear,
        "matmul": weights.matrix_product, "mm": weights.matrix_product,
        "addmm": weights.addmm, "baddbmm": weights.addmm,
        "addcmul": products.add_product, "addcdiv": products.add_product,
        "lerp": products.interpolation, "grid_sample": products.first_only,
        "deform_conv2d": products.first_only,
        "batch_norm": norms.batch_norm, "layer_norm": norms.layer_norm,
        "rms_norm": norms.rms_norm, "group_norm": norms.group_norm,
        "instance_norm": norms.instance_norm, "normalize": norms.normalize,
        "local_response_norm": norms.local_response_norm,
        "cosine_similarity": norms.cosine_similarity, "log_softmax": norms.log_softmax,
        "max_pool2d": max_pool, "max_pool2d_with_indices": max_pool, "glu": glu,
        "scaled_dot_product_attention": attend,
        "multi_head_attention_forward": multi_head_attention,
    }  # fmt: skip


HANDLERS: dict[str, Handler] = _table()
