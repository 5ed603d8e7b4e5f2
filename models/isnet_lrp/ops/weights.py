"""How convolutions and linear layers are run and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.kernels.mixed import mixed_convolution, mixed_linear
from isnet_lrp.ops.affine import Conv, ConvOptions, Linear, pair
from isnet_lrp.ops.products import halves, is_gate

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Tape


def convolution(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
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
    if _depend(tape, weight, bias) or x.dim() != 4:
        return other_convolution(tape, name, func, args, kwargs)
    if isinstance(padding, str):
        x, padding = _explicit_padding(tape, x, weight, padding, pair(dilation))
    options = ConvOptions(pair(stride), pair(padding), pair(dilation), groups)
    if tape.rules.mixed:
        y = mixed_convolution(x, weight, bias, options)
    else:
        y = options.apply(x, weight, bias)
    op = Conv(
        name, (), weight=weight, bias=bias, options=options,
        size=(x.shape[2], x.shape[3]), value=x if tape.rules.values else None,
    )  # fmt: skip
    tape.record(op, (x,), (y,))
    tape.extend_first(op, y, start=True)
    return y


def _depend(tape: Tape, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether weights or bias come from the image, other than mixed from learned ones by gates."""
    learned = tape.slot(weight) is None or is_gate(tape, weight, kernel=True)
    return not learned or (bias is not None and tape.slot(bias) is not None)


def other_convolution(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Convolutions of another dimension, transposed, or with weights made from the image.

    Weights that depend on the image share the relevance with the input, as a product's factors.

    Raises:
        UnsupportedOperation: The bias depends on the image.
    """
    bias = args[2] if len(args) > 2 else kwargs.get("bias")
    if isinstance(bias, Tensor) and tape.slot(bias) is not None:
        raise UnsupportedOperation(f"{name}: its bias depends on the image; add it apart")
    return halves(tape, name, func, args, kwargs)


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


def linear(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Linear layer."""

    def parse(
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        return input, weight, bias

    x, weight, bias = parse(*args, **kwargs)
    if _depend(tape, weight, bias):
        return other_convolution(tape, name, func, args, kwargs)
    y = mixed_linear(x, weight, bias) if tape.rules.mixed else F.linear(x, weight, bias)
    op = Linear(name, (), weight=weight, bias=bias, value=x if tape.rules.values else None)
    tape.record(op, (x,), (y,))
    tape.extend_first(op, y, start=True)
    return y


def matrix_product(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Matrix products; with a constant matrix on the right it is a linear layer."""
    if len(args) == 2 and tape.slot(args[0]) is not None and tape.slot(args[1]) is None:
        x, matrix = args
        if matrix.dim() == 2 and x.dim() > 1:
            return linear(tape, name, F.linear, (x, matrix.t()), {})
    return halves(tape, name, func, args, kwargs)


def addmm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """The sum beta·c + alpha·a·b of a matrix (or batches of them) and a matrix product."""
    c, a, b = args[:3] if len(args) > 2 else (*args, *(kwargs[k] for k in _rest(args, kwargs)))
    alpha, beta = kwargs.get("alpha", 1), kwargs.get("beta", 1)
    with tape:
        product = torch.matmul(a, b)
        product = product if alpha == 1 else product * alpha
        return product + (c if beta == 1 else c * beta)


def _rest(args: Any, kwargs: dict[str, Any]) -> list[str]:
    """Names of the matrices that were given by name."""
    names = ["input", "mat1" if "mat1" in kwargs else "batch1",
             "mat2" if "mat2" in kwargs else "batch2"]  # fmt: skip
    return names[len(args) :]
