"""Mixed precision: forward in float32, gradients of the weighted operations in bfloat16.

Rounding the forward pass turns the gradient of a map loss; rounding the relevance pass and the
training backward pass does not. So the usual order (forward rounded by autocast) is reversed here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from isnet_lrp.kernels.convolution import ConvOptions

HALF = torch.bfloat16


def convolve_mixed(x: Tensor, weight: Tensor, bias: Tensor | None, options: ConvOptions) -> Tensor:
    """Convolution in float32 whose gradients are computed in bfloat16.

    Args:
        x: [B, I, H, W], float32.
        weight: [O, I/groups, kh, kw], float32.
        bias: [O] or None.
        options: Geometry.
    """
    found: Tensor = _Convolution.apply(x, weight, bias, options)
    return found


def apply_linear_mixed(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Linear layer in float32 whose gradients are computed in bfloat16.

    Args:
        x: [..., I], float32.
        weight: [O, I], float32.
        bias: [O] or None.
    """
    found: Tensor = _Linear.apply(x, weight, bias)
    return found


class _Convolution(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, options: ConvOptions
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.options, ctx.biased = options, bias is not None
        return options.apply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (u,) = grads
        x, weight = ctx.saved_tensors
        o: ConvOptions = ctx.options
        mask = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        dx, dw, _ = torch.ops.aten.convolution_backward(
            u.to(HALF), x.to(HALF), weight.to(HALF), None, o.stride, o.padding, o.dilation, False,
            (0, 0), o.groups, mask,
        )  # fmt: skip
        db = u.sum((0, 2, 3)) if ctx.biased and ctx.needs_input_grad[2] else None
        return dx.to(x.dtype) if mask[0] else None, dw.to(x.dtype) if mask[1] else None, db, None


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (u,) = grads
        x, weight = ctx.saved_tensors
        half, flat = u.to(HALF), u.reshape(-1, u.shape[-1])
        dx = (half @ weight.to(HALF)).to(x.dtype) if ctx.needs_input_grad[0] else None
        dw = None
        if ctx.needs_input_grad[1]:
            dw = (flat.to(HALF).t() @ x.reshape(-1, x.shape[-1]).to(HALF)).to(x.dtype)
        db = flat.sum(0) if ctx.biased and ctx.needs_input_grad[2] else None
        return dx, dw, db
