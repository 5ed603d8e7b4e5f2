"""Convolution, linear layer and BatchNorm: the operations that have weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_models.lrp.graph import Local, Op, Signals

Pair = tuple[int, int]


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
        extra = [
            size[i]
            - ((g.shape[-2 + i] - 1) * self.stride[i] - 2 * self.padding[i]
               + self.dilation[i] * (weight.shape[-2 + i] - 1) + 1)
            for i in (0, 1)
        ]  # fmt: skip
        return torch.conv_transpose2d(
            g, weight, None, self.stride, self.padding, extra, self.groups, self.dilation
        )


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
    """

    weight: Tensor = None  # type: ignore[assignment]
    bias: Tensor | None = None
    options: ConvOptions = None  # type: ignore[assignment]
    size: tuple[int, int] = (0, 0)
    value: Tensor | None = None

    def signal(self, signals: Signals) -> Signals:
        """Wᵀg."""
        g = signals[0]
        if g is None:
            return [None]
        return [self.carry(g, None)]

    def carry(self, g: Tensor, scale: Tensor | None) -> Tensor:
        """Wᵀ(scale·g), the scale [O] folded into the smaller of weight and signal."""
        weight = self.weight.to(g.dtype)
        if scale is not None:
            if weight.numel() <= g.numel():
                weight = weight * scale.view(-1, 1, 1, 1)
            else:
                g = g * scale.view(-1, 1, 1)
        found = self.options.transpose(g.flatten(0, 1), weight, self.size)
        return found.view(*g.shape[:2], *found.shape[1:])


@dataclass(eq=False)
class Linear(Op):
    """Linear layer on the last axis.

    Attributes:
        weight: [O, I].
        bias: [O] or None.
        value: The input, kept where a family needs it.
    """

    weight: Tensor = None  # type: ignore[assignment]
    bias: Tensor | None = None
    value: Tensor | None = None

    def signal(self, signals: Signals) -> Signals:
        """Wᵀg."""
        g = signals[0]
        return [None if g is None else F.linear(g, self.weight.to(g.dtype).t())]


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
