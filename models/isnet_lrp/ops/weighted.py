"""Convolutions and linear layers: names, recording and rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.kernels.convolution import ConvOptions, as_pair
from isnet_lrp.kernels.mixed import apply_linear_mixed, convolve_mixed
from isnet_lrp.ops.product import is_gate, record_product
from isnet_lrp.record.graph import Op, Signals

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder

CONVOLUTIONS = frozenset({"conv1d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                          "conv_transpose3d"})  # fmt: skip


@dataclass(eq=False)
class Conv(Op):
    """Two-dimensional convolution.

    Attributes:
        weight: [O, I/groups, kh, kw].
        bias: [O] or None.
        options: Its geometry.
        size: Height and width of the input.
        value: The input, kept where a family needs it.
        output: The output, kept of the network's first layer.
    """

    weight: Tensor = None  # type: ignore[assignment]
    bias: Tensor | None = None
    options: ConvOptions = None  # type: ignore[assignment]
    size: tuple[int, int] = (0, 0)
    value: Tensor | None = None
    output: Tensor | None = None

    def propagate(self, signals: Signals) -> Signals:
        """Wᵀg."""
        g = signals[0]
        if g is None:
            return [None]
        found = self.options.transpose(g.flatten(0, 1), self.weight.to(g.dtype), self.size)
        return [found.view(*g.shape[:2], *found.shape[1:])]


@dataclass(eq=False)
class Linear(Op):
    """Linear layer on the last axis.

    Attributes:
        weight: [O, I].
        bias: [O] or None.
        value: The input, kept where a family needs it.
        output: The output, kept of the network's first layer.
    """

    weight: Tensor = None  # type: ignore[assignment]
    bias: Tensor | None = None
    value: Tensor | None = None
    output: Tensor | None = None

    def propagate(self, signals: Signals) -> Signals:
        """Wᵀg."""
        g = signals[0]
        if g is None:
            return [None]
        # A plain product: its weight gradient is added in place, that of a transposed one is not.
        found = torch.mm(g.reshape(-1, g.shape[-1]), self.weight.to(g.dtype))
        return [found.view(*g.shape[:-1], found.shape[-1])]


def record_convolution(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
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
    if _depend(recorder, weight, bias) or x.dim() != 4:
        return record_other_convolution(recorder, name, func, args, kwargs)
    if isinstance(padding, str):
        x, padding = _explicit_padding(recorder, x, weight, padding, as_pair(dilation))
    options = ConvOptions(as_pair(stride), as_pair(padding), as_pair(dilation), groups)
    if recorder.rules.mixed:
        y = convolve_mixed(x, weight, bias, options)
    else:
        y = options.apply(x, weight, bias)
    op = Conv(
        name, (), weight=weight, bias=bias, options=options,
        size=(x.shape[2], x.shape[3]), value=x if recorder.rules.values else None,
    )  # fmt: skip
    recorder.record(op, (x,), (y,))
    recorder.extend_first(op, y, start=True)
    return y


def _depend(recorder: Recorder, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether weights or bias come from the image, other than mixed from learned ones by gates."""
    learned = recorder.find_node(weight) is None or is_gate(recorder, weight, kernel=True)
    return not learned or (bias is not None and recorder.find_node(bias) is not None)


def record_other_convolution(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any
) -> Any:
    """Convolutions of another dimension, transposed, or with weights made from the image.

    Weights that depend on the image share the relevance with the input, as a product's factors.

    Raises:
        UnsupportedOperation: The bias depends on the image.
    """
    bias = args[2] if len(args) > 2 else kwargs.get("bias")
    if isinstance(bias, Tensor) and recorder.find_node(bias) is not None:
        raise UnsupportedOperation(f"{name}: its bias depends on the image; add it apart")
    return record_product(recorder, name, func, args, kwargs)


def _explicit_padding(
    recorder: Recorder, x: Tensor, weight: Tensor, padding: str, dilation: tuple[int, int]
) -> tuple[Tensor, tuple[int, int]]:
    """The words "valid" and "same" (whose odd remainder torch puts at the end)."""
    if padding == "valid":
        return x, (0, 0)
    total = [dilation[i] * (weight.shape[2 + i] - 1) for i in (0, 1)]
    if total[0] % 2 or total[1] % 2:
        rest = (0, total[1] % 2, 0, total[0] % 2)
        with recorder:
            x = F.pad(x, rest)
    return x, (total[0] // 2, total[1] // 2)


def record_linear(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Linear layer."""

    def parse(
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        return input, weight, bias

    x, weight, bias = parse(*args, **kwargs)
    if _depend(recorder, weight, bias):
        return record_other_convolution(recorder, name, func, args, kwargs)
    y = apply_linear_mixed(x, weight, bias) if recorder.rules.mixed else F.linear(x, weight, bias)
    op = Linear(name, (), weight=weight, bias=bias, value=x if recorder.rules.values else None)
    recorder.record(op, (x,), (y,))
    recorder.extend_first(op, y, start=True)
    return y


def record_matrix_product(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Matrix products; with a constant matrix on the right it is a linear layer."""
    if (
        len(args) == 2
        and recorder.find_node(args[0]) is not None
        and recorder.find_node(args[1]) is None
    ):
        x, matrix = args
        if matrix.dim() == 2 and x.dim() > 1:
            return record_linear(recorder, name, F.linear, (x, matrix.t()), {})
    return record_product(recorder, name, func, args, kwargs)


def record_addmm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """The sum beta·c + alpha·a·b of a matrix (or batches of them) and a matrix product."""
    c, a, b = args[:3] if len(args) > 2 else (*args, *(kwargs[k] for k in _rest(args, kwargs)))
    alpha, beta = kwargs.get("alpha", 1), kwargs.get("beta", 1)
    with recorder:
        product = torch.matmul(a, b)
        product = product if alpha == 1 else product * alpha
        return product + (c if beta == 1 else c * beta)


def _rest(args: Any, kwargs: dict[str, Any]) -> list[str]:
    """Names of the matrices that were given by name."""
    names = ["input", "mat1" if "mat1" in kwargs else "batch1",
             "mat2" if "mat2" in kwargs else "batch2"]  # fmt: skip
    return names[len(args) :]
