"""How each kind of operation is run and recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_models.lrp import operations as names
from isnet_models.lrp.affine import BatchNorm, Conv, ConvOptions, Linear, pair
from isnet_models.lrp.attention import attend, multi_head_attention
from isnet_models.lrp.errors import UnsupportedOperation
from isnet_models.lrp.graph import Local
from isnet_models.lrp.mixed import mixed_convolution, mixed_linear
from isnet_models.lrp.nonlinear import Activation, GroupedNorm, Rectifier, inverse_deviation
from isnet_models.lrp.structure import Concat, GlobalPool, MaxPool, Pool, Reshape, Sum

if TYPE_CHECKING:
    from isnet_models.lrp.tape import Tape

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


def activation(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Any other elementwise function with f(0) = 0."""
    x = _first(args, kwargs)
    if name in names.BOUNDED and func(torch.zeros(()), *args[1:], **kwargs) != 0:
        raise UnsupportedOperation(f"{name}: no relevance rule when 0 is not mapped to 0")
    y: Tensor = func(*args, **kwargs)
    op = Activation(name, (), inner=x, value=y, epsilon=tape.rules.epsilon)
    tape.record(op, (x,), (y,))
    tape.extend_first(op, y)
    return y


def convolution(
    tape: Tape,
    name: str,
    func: Any,
    args: Any,
    kwargs: Any,
) -> Tensor:
    """Two-dimensional convolution."""

    def parse(
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> tuple[Tensor, Tensor, Tensor | None, Any, Any, Any, int]:
        return input, weight, bias, stride, padding, dilation, groups

    x, weight, bias, stride, padding, dilation, groups = parse(*args, **kwargs)
    if tape.slot(x) is None or tape.slot(weight) is not None:
        raise UnsupportedOperation(f"{name}: its weights depend on the image")
    if x.dim() != 4:
        return tape.local(name, func, args, kwargs)  # type: ignore[no-any-return]
    if isinstance(padding, str):
        x, padding = _explicit_padding(tape, x, weight, padding, pair(dilation))
    options = ConvOptions(pair(stride), pair(padding), pair(dilation), groups)
    if tape.rules.mixed:
        y = mixed_convolution(x, weight, bias, options)
    else:
        y = options.apply(x, weight, bias)
    op = Conv(
        name, (), weight=weight, bias=bias, options=options,
        size=(x.shape[2], x.shape[3]), value=_kept(tape, x),
    )  # fmt: skip
    tape.record(op, (x,), (y,))
    tape.extend_first(op, y, start=True)
    return y


def _explicit_padding(
    tape: Tape, x: Tensor, weight: Tensor, padding: str, dilation: tuple[int, int]
) -> tuple[Tensor, tuple[int, int]]:
    """The words "valid" and "same" (whose odd remainder torch puts at the end)."""
    if padding == "valid":
        return x, (0, 0)
    total = [dilation[i] * (weight.shape[2 + i] - 1) for i in (0, 1)]
    if total[0] % 2 or total[1] % 2:
        rest = (0, total[1] % 2, 0, total[0] % 2)
        x = tape.local("pad", F.pad, (x, rest), {})
    return x, (total[0] // 2, total[1] // 2)


def linear(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Linear layer."""

    def parse(
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        return input, weight, bias

    x, weight, bias = parse(*args, **kwargs)
    if tape.slot(x) is None or tape.slot(weight) is not None:
        raise UnsupportedOperation(f"{name}: its weights depend on the image")
    y = mixed_linear(x, weight, bias) if tape.rules.mixed else F.linear(x, weight, bias)
    op = Linear(name, (), weight=weight, bias=bias, value=_kept(tape, x))
    tape.record(op, (x,), (y,))
    tape.extend_first(op, y, start=True)
    return y


def addmm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Bias + x·W."""
    return tape.local(name, func, args, kwargs)


def batch_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """BatchNorm; its statistics are constants of the pass unless the authors' way is asked."""

    def parse(
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, bool, float,
               float]:  # fmt: skip
        return input, running_mean, running_var, weight, bias, training, momentum, eps

    x, running_mean, running_var, gamma, beta, training, momentum, eps = parse(*args, **kwargs)
    rules = tape.rules
    if training and x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got {x.shape}")
    through = training and rules.authors and not (rules.block or rules.values)
    inner = x.view_as(x) if through else x
    y, mean, invstd = torch.native_batch_norm(
        inner, gamma, beta, running_mean, running_var, training, momentum, eps
    )
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("BatchNorm in evaluation mode without running statistics")
        mean, invstd = running_mean, (running_var + eps).rsqrt()
    mean, invstd = mean.detach(), invstd.detach()
    if training and rules.authors:  # also in LRP-Flex, for the zB rule
        invstd = _unbiased(invstd, x.numel() // x.shape[1], eps)
    op = BatchNorm(
        name, (), gamma=gamma, beta=beta, mean=mean, invstd=invstd,
        value=x if rules.values or (rules.block and training) else None, batch=training,
        through=Local(name, (), inputs=(inner,), outputs=(y,)) if through else None,
    )  # fmt: skip
    tape.record(op, (x,), (y,))
    tape.extend_first(op, y)
    return y


def _unbiased(invstd: Tensor, n: int, eps: float) -> Tensor:
    """1/sqrt(var·n/(n-1) + eps) from 1/sqrt(var + eps) (LRP_SPEC 2.2, training mode)."""
    variance = invstd**-2 - eps
    return (variance * (n / (n - 1)) + eps).rsqrt()


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


def addition(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Sums and differences, with constants or between tensors of one shape."""
    a, b = args[0], args[1] if len(args) > 1 else kwargs["other"]
    terms = [(t, s) for t, s in ((a, 1), (b, -1 if name != "add" else 1))
             if isinstance(t, Tensor) and tape.slot(t) is not None]  # fmt: skip
    plain = name in ("add", "sub") and not kwargs and len(args) == 2
    y = func(*args, **kwargs) if plain else None
    if y is None or any(t.shape != y.shape for t, _ in terms):
        return tape.local(name, func, args, kwargs)
    op = Sum(name, (), sign=tuple(s for _, s in terms),
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
    y = func(*args, **kwargs)
    if y is x:
        return y
    if not (isinstance(y, Tensor) and y.dtype == x.dtype and y.numel() == x.numel()):
        return tape.local(name, func, args, kwargs)
    tape.record(Reshape(name, (), shape=tuple(x.shape)), (x,), (y,))
    return y


def local(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Linear and homogeneous operations."""
    if name == "setitem":
        raise UnsupportedOperation("assignment into a tensor that depends on the image")
    return tape.local(name, func, args, kwargs)


def product(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Products; between two tensors that depend on the image each gets half the relevance.

    Source: the uniform rule of Achtibat et al., AttnLRP, ICML 2024, equation 13.
    """
    out = tape.local(name, func, args, kwargs)
    op = tape.graph.ops[-1]
    if isinstance(op, Local):
        op.share = 1 / len(op.ins)
    return out


def dropout(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Dropout: linear while training, nothing otherwise."""
    given = dict(zip(("input", "p", "training"), args, strict=False)) | kwargs
    if not given.get("training", True) or given.get("p", 0.5) == 0:
        return given["input"]
    return tape.local(name, func, args, kwargs)


def quotient(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Quotients: the denominator is a constant, as the statistics of norms."""
    if tape.slot(args[0]) is None if isinstance(args[0], Tensor) else True:
        raise UnsupportedOperation(f"{name}: a constant divided by a tensor of the image")
    return tape.local(name, func, args, kwargs, keep=lambda position: position == 0)


def layer_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Layer norm and RMS norm over the last axes."""

    def parse(
        input: Tensor,  # noqa: A002
        normalized_shape: Any,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float | None = 1e-5,
    ) -> tuple[Tensor, Any, Tensor | None, float]:
        return input, normalized_shape, weight, 1e-5 if eps is None else eps

    if name == "rms_norm":
        x, shape, gamma, eps = parse(*args[:3], None, *args[3:], **kwargs)
        eps = torch.finfo(x.dtype).eps if len(args) < 4 and "eps" not in kwargs else eps
    else:
        x, shape, gamma, eps = parse(*args, **kwargs)
    y: Tensor = func(*args, **kwargs)
    n = math.prod([shape] if isinstance(shape, int) else shape)
    view = (x.numel() // n, n)
    flat = x.detach().reshape(view)
    if name == "rms_norm":
        invstd = (flat.square().mean(-1, keepdim=True) + eps).rsqrt()
    else:
        invstd = inverse_deviation(flat, eps)
    op = GroupedNorm(name, (), shape=view, invstd=invstd, gamma=gamma, centred=name != "rms_norm")
    tape.record(op, (x,), (y,))
    return y


def group_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Group norm."""

    def parse(
        input: Tensor,  # noqa: A002
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> tuple[Tensor, int, Tensor | None, float]:
        return input, num_groups, weight, eps

    x, groups, gamma, eps = parse(*args, **kwargs)
    y: Tensor = func(*args, **kwargs)
    _record_channels(tape, name, x, y, groups, gamma, eps)
    return y


def instance_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Instance norm with the statistics of the instance."""

    def parse(
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Tensor | None, bool, float]:
        return input, weight, use_input_stats, eps

    x, gamma, own, eps = parse(*args, **kwargs)
    if not own:
        raise UnsupportedOperation("instance_norm with running statistics: no relevance rule")
    y: Tensor = func(*args, **kwargs)
    _record_channels(tape, name, x, y, x.shape[1], gamma, eps)
    return y


def _record_channels(
    tape: Tape, name: str, x: Tensor, y: Tensor, groups: int, gamma: Tensor | None, eps: float
) -> None:
    view = (x.shape[0] * groups, x.numel() // (x.shape[0] * groups))
    if gamma is not None:
        gamma = gamma.view(-1, *([1] * (x.dim() - 2)))
    invstd = inverse_deviation(x.detach().reshape(view), eps)
    tape.record(GroupedNorm(name, (), shape=view, invstd=invstd, gamma=gamma), (x,), (y,))


def glu(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Gated linear unit: the gate is a constant."""
    x = _first(args, kwargs)
    dim = args[1] if len(args) > 1 else kwargs.get("dim", -1)
    with tape:
        value, gate = x.chunk(2, dim)
        return value * torch.sigmoid(gate)


def _table() -> dict[str, Handler]:
    table: dict[str, Handler] = {}
    for group, handler in (
        (names.RELU, relu), (names.ACTIVATIONS, activation), (names.RESHAPES, reshape),
        (names.LINEAR, local), (names.HOMOGENEOUS, local), (names.POOLS, pool),
        (names.PRODUCTS, product), (names.QUOTIENTS, quotient), (names.ADDITIONS, addition),
        (names.CONCATENATIONS, concatenation),
    ):  # fmt: skip
        table |= dict.fromkeys(group, handler)
    return table | {
        "conv2d": convolution, "linear": linear, "addmm": addmm, "baddbmm": addmm,
        "batch_norm": batch_norm, "max_pool2d": max_pool, "max_pool2d_with_indices": max_pool,
        **dict.fromkeys(names.DROPOUTS, dropout),
        "layer_norm": layer_norm, "rms_norm": layer_norm, "group_norm": group_norm,
        "instance_norm": instance_norm, "glu": glu,
        "scaled_dot_product_attention": attend,
        "multi_head_attention_forward": multi_head_attention, "setitem": local,
    }  # fmt: skip


HANDLERS: dict[str, Handler] = _table()
