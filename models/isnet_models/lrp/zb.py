"""The zB rule of the first layer, whose inputs are pixels in a known interval [low, high]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_models.lrp.affine import BatchNorm, Conv, ConvOptions, Linear
from isnet_models.lrp.damp import stabilise
from isnet_models.lrp.errors import UnsupportedOperation
from isnet_models.lrp.graph import Graph


@dataclass(frozen=True)
class FirstLayer:
    """The network's first affine map z = W·x + b, a convolution or a linear layer.

    Biases and statistics in b are constants (LRP_SPEC 2.12).

    Attributes:
        weight: [O, I, kh, kw] or [O, I].
        bias: [O].
        options: Geometry of the convolution; None for a linear layer.
    """

    weight: Tensor
    bias: Tensor
    options: ConvOptions | None


def first_layer(graph: Graph, end: int) -> FirstLayer:
    """The chain from the image to slot `end` as one affine map, BatchNorm fused (LRP_SPEC 2.2).

    W' = W·gamma/s, b' = (b - mu)·gamma/s + beta.

    Raises:
        UnsupportedOperation: Something else reads the image or an inner slot of the chain.
    """
    norm: BatchNorm | None = None
    op = graph.maker[end]
    while op is not None and not isinstance(op, (Conv, Linear)):
        if isinstance(op, BatchNorm):
            norm = op
        if graph.uses[op.ins[0]] != 1:
            raise UnsupportedOperation(
                f"zB rule: the input of the first layer's {op.name} is read more than once"
            )
        op = graph.maker[op.ins[0]]
    if op is None or graph.uses[0] != 1:
        raise UnsupportedOperation(
            "zB rule: the image must be read by one first layer alone; use zb=None"
        )
    weight = op.weight
    bias = weight.new_zeros(weight.shape[0]) if op.bias is None else op.bias.detach()
    if norm is not None:
        scale = norm.scale()
        bias = bias * scale + norm.shift()
        weight = weight * scale.view(-1, *([1] * (weight.dim() - 1)))
    return FirstLayer(weight, bias, op.options if isinstance(op, Conv) else None)


def first_layer_relevance(
    x: Tensor, relevance: Tensor, layer: FirstLayer, epsilon: float, low: Tensor, high: Tensor
) -> Tensor:
    """Carries relevance from the first layer's output to the pixels (zB rule, LRP_SPEC 2.8).

    z = (W*x + b) - (W⁺*l + l·b⁺) - (W⁻*h + h·b⁻),  s = R/stab(z),
    R_j = (x_j - l)·(W⁺ᵀs)_j + (x_j - h)·(W⁻ᵀs)_j, which is
    x_j (Wᵀs)_j - l (W⁺ᵀs)_j - h (W⁻ᵀs)_j;  stab(z) = z + epsilon·sgn(z), sgn(0) = +1.

    Args:
        x: Image [B, C, H, W] with low <= x <= high.
        relevance: Relevance of the layer's output [K, B, O, h, w] (or [K, B, O]).
        layer: The first layer.
        epsilon: Stabiliser, >= 0.
        low: Lower pixel bound per channel [C].
        high: Upper pixel bound per channel [C].

    Returns:
        Relevance of the pixels [K, B, C, H, W]. The biases take the mean of l, h over channels.
    """
    zero = torch.zeros_like(layer.weight)
    positive, negative = torch.maximum(layer.weight, zero), torch.minimum(layer.weight, zero)
    l_plane = low.view(1, -1, 1, 1).expand(1, *x.shape[1:])
    h_plane = high.view(1, -1, 1, 1).expand(1, *x.shape[1:])
    none = torch.zeros_like(layer.bias)
    outside = low.mean() * torch.maximum(layer.bias, none)
    outside = outside + high.mean() * torch.minimum(layer.bias, none)
    if layer.options is None:
        z = F.linear(x.flatten(1), layer.weight, layer.bias - outside)
        z = z - F.linear(l_plane.flatten(1), positive) - F.linear(h_plane.flatten(1), negative)
        s = relevance / stabilise(z, epsilon)
        up = (s @ positive).view(*s.shape[:2], *x.shape[1:])
        down = (s @ negative).view(*s.shape[:2], *x.shape[1:])
    else:
        o = layer.options
        z = o.apply(x, layer.weight, layer.bias - outside)
        z = z - o.apply(l_plane, positive) - o.apply(h_plane, negative)
        s = relevance / stabilise(z, epsilon)
        both = torch.cat([positive, negative], 1) if o.groups == 1 else None
        size = (x.shape[2], x.shape[3])
        if both is not None:  # one call of twice the channels is quicker than two
            found = o.transpose(s.flatten(0, 1), both, size).unflatten(0, s.shape[:2])
            up, down = found.chunk(2, 2)
        else:
            up, down = (
                o.transpose(s.flatten(0, 1), w, size).unflatten(0, s.shape[:2])
                for w in (positive, negative)
            )
    return (x - l_plane) * up + (x - h_plane) * down
