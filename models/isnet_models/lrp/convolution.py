"""Convolution whose relevance signal has a second derivative on native kernels.

Torch's own double backward of a convolution forms the weight's derivative from transposed
convolutions over swapped axes; the same number is one ordinary weight-gradient kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from isnet_models.lrp.rules import Phase

Pair = tuple[int, int]


@dataclass(frozen=True)
class ConvOptions:
    """Stride, padding and dilation (rows, columns) and groups of a convolution."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


def pair(value: Any) -> Pair:
    """A size as (rows, columns)."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _gradients(
    g: Tensor, x: Tensor, weight: Tensor, o: ConvOptions, mask: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    bias_sizes = [weight.shape[0]] if mask[2] else None
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        g, x, weight, bias_sizes, o.stride, o.padding, o.dilation, False, (0, 0), o.groups, mask
    )
    return found


class InputSignal(Function):
    """The signal of a convolution's input, Wᵀg, with native first derivatives in g and W."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, x: Tensor, options: ConvOptions) -> Tensor:
        """[B, I, H, W] from g [B, O, h, w]; of `x` only the shape is used."""
        ctx.save_for_backward(g, weight)
        ctx.options = options
        return _gradients(g, x, weight, options, [True, False, False])[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """d/dg = W·u, d/dW = weight gradient of the convolution with input u and signal g."""
        (u,) = grads
        g, weight = ctx.saved_tensors
        o: ConvOptions = ctx.options
        dg = dw = None
        if ctx.needs_input_grad[0]:
            dg = torch.conv2d(u, weight, None, o.stride, o.padding, o.dilation, o.groups)
        if ctx.needs_input_grad[1]:
            dw = _gradients(g, u, weight, o, [False, True, False])[1]
        return dg, dw, None, None


class RelevanceConv(Function):
    """Two-dimensional convolution; linear, so relevance has its ordinary signal."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        options: ConvOptions,
        phase: Phase,
    ) -> Tensor:
        """Convolution of x [B, I, H, W] with weight [O, I/groups, kh, kw]."""
        ctx.save_for_backward(x, weight)
        ctx.options, ctx.phase = options, phase
        return torch.conv2d(
            x, weight, bias, options.stride, options.padding, options.dilation, options.groups
        )

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Signal of the input alone while explaining, all gradients otherwise."""
        (g,) = grads
        x, weight = ctx.saved_tensors
        if ctx.phase.explaining:
            dx = InputSignal.apply(g, weight, x.detach(), ctx.options)
            return dx, None, None, None, None
        mask = [bool(needed) for needed in ctx.needs_input_grad[:3]]
        found = _gradients(g, x, weight, ctx.options, mask)
        return *(f if m else None for f, m in zip(found, mask, strict=True)), None, None
