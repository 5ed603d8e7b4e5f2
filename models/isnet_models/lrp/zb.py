"""The zB rule of the first layer, whose inputs are pixels in a known interval [low, high]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_models.lrp.convolution import ConvOptions, InputSignal
from isnet_models.lrp.tape import FirstLayer


def fuse(layer: FirstLayer) -> tuple[Tensor, Tensor]:
    """Weight and bias of the first convolution fused with its BatchNorm (LRP_SPEC 2.2, 2.12).

    W' = W·gamma/s, b' = (b - mu)·gamma/s + beta; b, beta and the statistics mu, s are constants.

    Returns:
        (W' [O, I, kh, kw], b' [O]).
    """
    weight = layer.weight
    bias = layer.bias
    bias = torch.zeros_like(weight[:, 0, 0, 0]) if bias is None else bias
    bias = bias.detach()
    if layer.norm is not None:
        gamma, beta, mean, invstd = layer.norm
        scale = invstd.detach() if gamma is None else gamma * invstd.detach()
        bias = (bias - mean.detach()) * scale
        bias = bias if beta is None else bias + beta.detach()
        weight = weight * scale.view(-1, 1, 1, 1)
    return weight, bias


def first_layer_relevance(
    x: Tensor, relevance: Tensor, layer: FirstLayer, epsilon: float, low: Tensor, high: Tensor
) -> Tensor:
    """Carries relevance from the first ReLU's output to the pixels (zB rule, LRP_SPEC 2.8).

    z = (W*x + b) - (W⁺*l + l·b⁺) - (W⁻*h + h·b⁻),  s = R/stab(z),
    R_j = x_j (Wᵀs)_j - l (W⁺ᵀs)_j - h (W⁻ᵀs)_j;  stab(z) = z + epsilon·sgn(z), sgn(0) = +1.

    Args:
        x: Image [B, C, H, W] with low <= x <= high.
        relevance: Relevance of the first ReLU's output [B, O, h, w].
        layer: The recorded first layer.
        epsilon: Stabiliser, >= 0.
        low: Lower pixel bound per channel [C].
        high: Upper pixel bound per channel [C].

    Returns:
        Relevance of the pixels [B, C, H, W]. The bias terms take l, h of the first channel.
    """
    weight, bias = fuse(layer)
    zero = torch.zeros_like(weight)
    positive, negative = torch.maximum(weight, zero), torch.minimum(weight, zero)
    l_plane = low.view(1, -1, 1, 1).expand(1, *x.shape[1:])
    h_plane = high.view(1, -1, 1, 1).expand(1, *x.shape[1:])
    none = torch.zeros_like(bias)
    b_low = (low[0] * torch.maximum(bias, none)).view(1, -1, 1, 1)
    b_high = (high[0] * torch.minimum(bias, none)).view(1, -1, 1, 1)
    z = (
        F.conv2d(x, weight, bias, **layer.options)
        - (F.conv2d(l_plane, positive, **layer.options) + b_low)
        - (F.conv2d(h_plane, negative, **layer.options) + b_high)
    )
    s = relevance / torch.where(z >= 0, z + epsilon, z - epsilon)

    options = ConvOptions(**layer.options)

    def transpose(w: Tensor) -> Tensor:
        signal: Tensor = InputSignal.apply(s, w, x.detach(), options)
        return signal

    return x * transpose(weight) - l_plane * transpose(positive) - h_plane * transpose(negative)
