"""Convolution, linear layer and BatchNorm: the operations that have weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isnet_lrp.kernels.strided import Pair, spread
from isnet_lrp.record.graph import Local, Op, Signals

FEW = 8  # input channels up to which a strided convolution's transpose is spread by phases


@dataclass(frozen=True)
class ConvOptions:
    """Stride, padding and dilation (rows, columns) and groups of a convolution."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The convolution [B, O, h, w] of x [B, I, H, W]."""
        return torch.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def transpose(self, g: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
        """Wᵀg: the signal [B, I, H, W] of an input of `size` (H, W) from g [B, O, h, w]."""
        if self.groups == 1 and self.pointwise(weight):  # a plain product is quicker
            found = torch.matmul(weight.flatten(1).t(), g.flatten(2))
            return found.view(*found.shape[:2], *size)
        if self.groups == 1 and self.stride != (1, 1) and weight.shape[1] <= FEW:
            return spread(g, weight, self.stride, self.padding, self.dilation, size)
        extra = [
            size[i]
            - ((g.shape[-2 + i] - 1) * self.stride[i] - 2 * self.padding[i]
               + self.dilation[i] * (weight.shape[-2 + i] - 1) + 1)
            for i in (0, 1)
        ]  # fmt: skip
        return torch.conv_transpose2d(
            g, weight, None, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def weight_gradient(self, x: Tensor, g: Tensor, weight: Tensor) -> Tensor:
        """Derivative [O, I/groups, kh, kw] of Σ g·(W*x) by W, for x [B, I, H, W], g [B, O, h, w].

        Args:
            x: Input of the convolution.
            g: Derivative by its output.
            weight: W, whose shape is taken.
        """
        _, found, _ = torch.ops.aten.convolution_backward(
            g, x, weight, None, self.stride, self.padding, self.dilation, False, (0, 0),
            self.groups, (False, True, False),
        )  # fmt: skip
        return found  # type: ignore[no-any-return]

    def pointwise(self, weight: Tensor) -> bool:
        """Whether each output pixel depends on the input pixel at its own place alone."""
        return weight.shape[-2:] == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0)


def pair(value: object) -> Pair:
    """A size as (rows, columns)."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, (tuple, list, torch.Size)):
        return int(value[0]), int(value[-1])
    raise TypeError(f"size {value!r}: expected one or two integers")


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

    def signal(self, signals: Signals) -> Signals:
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

    def signal(self, signals: Signals) -> Signals:
        """Wᵀg."""
        g = signals[0]
        if g is None:
            return [None]
        # A plain product: its weight gradient is added in place, that of a transposed one is not.
        found = torch.mm(g.reshape(-1, g.shape[-1]), self.weight.to(g.dtype))
        return [found.view(*g.shape[:-1], found.shape[-1])]


@dataclass(eq=False)
class BatchNorm(Op):
    """BatchNorm with constant statistics: y = gamma·(x - mean)·invstd + beta per channel.

    Attributes:
        gamma: [C] or None.
        beta: [C] or None.
        mean: [C], a constant.
        invstd: 1/s.d. [C], a constant.
        value: The input, kept where a family needs it.
        batch: Whether mean and invstd are of this batch (training mode).
        through: The operation as autograd knows it, if its statistics are not constants.
    """

    gamma: Tensor | None = None
    beta: Tensor | None = None
    mean: Tensor = None  # type: ignore[assignment]
    invstd: Tensor = None  # type: ignore[assignment]
    value: Tensor | None = None
    batch: bool = False
    through: Local | None = None

    def scale(self) -> Tensor:
        """gamma·invstd [C]."""
        return self.invstd if self.gamma is None else self.gamma * self.invstd

    def shift(self) -> Tensor:
        """Beta - mean·gamma·invstd [C], beta a constant (LRP_SPEC 2.12)."""
        shift = -self.mean * self.scale()
        return shift if self.beta is None else shift + self.beta.detach()

    def signal(self, signals: Signals) -> Signals:
        """gamma·invstd·g."""
        g = signals[0]
        if g is None:
            return [None]
        if self.through is not None:
            return self.through.signal(signals)
        return [g * self.scale().to(g.dtype).view(-1, *([1] * (g.dim() - 3)))]
