"""The zB rule of the first layer, whose inputs are pixels in a known interval [low, high]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.kernels.convolution import ConvOptions
from isnet_lrp.kernels.epsilon import stabilise
from isnet_lrp.ops.norm import BatchNorm
from isnet_lrp.ops.weighted import Weighted
from isnet_lrp.record.graph import Graph, Place
from isnet_lrp.record.stem import HINT, Layout, Stem


@dataclass(frozen=True)
class FirstLayer:
    """The network's first affine map z = scale·(V*u) + b, a convolution or a linear layer.

    It reads the image, or what an affine function of single pixels made of it: the stem. Biases
    and statistics in b are constants (docs/lrp.md, section 2.12).

    Attributes:
        raw: V*u + c as the forward pass computed it, [B, O, h, w] or [B, O].
        weight: V, [O, I, kh, kw] or [O, I].
        shift: c [O], or None.
        scale: BatchNorm's factor [O], or None: 1.
        bias: b [O].
        options: Geometry of the convolution; None for a linear layer.
        stem: How u follows from the image x; None: u = x. Of a convolution it is a `Layout`.
    """

    raw: Tensor
    weight: Tensor
    shift: Tensor | None
    scale: Tensor | None
    bias: Tensor
    options: ConvOptions | None
    stem: Layout | Stem | None = None

    def fuse_weights(self) -> Tensor:
        """The weights W = scale·V."""
        if self.scale is None:
            return self.weight
        return self.weight * self.scale.view(-1, *([1] * (self.weight.dim() - 1)))

    def subtract(self, less: Tensor) -> Tensor:
        """The difference z - less, from the recorded value.

        Args:
            less: [O] or [O, h, w].
        """
        bias = self.bias
        if self.shift is not None:
            bias = bias - (self.shift if self.scale is None else self.shift * self.scale)
        tail = [1] * (self.raw.dim() - 2)
        bias = bias.view(-1, *tail) - less.view(
            *less.shape, *tail[: self.raw.dim() - 1 - less.dim()]
        )
        if self.scale is None:
            return self.raw + bias
        return torch.addcmul(bias, self.raw, self.scale.view(-1, *tail))


def find_first_layer(graph: Graph, end: int, stem: Layout | Stem | None = None) -> FirstLayer:
    """The chain from the image to node `end` as one affine map, BatchNorm fused.

    Source: docs/lrp.md, section 2.2.

    W = V·gamma/s, b = (c - mu)·gamma/s + beta.

    Args:
        graph: The record.
        end: Last node of the chain.
        stem: What stands before the first layer, or None.

    Raises:
        UnsupportedOperation: Something else reads the image or an inner node of the chain.
    """
    norm: BatchNorm | None = None
    op = graph.maker[end]
    while op is not None and op.place != Place.WEIGHTED:
        if op.place == Place.NORM:
            norm = cast("BatchNorm", op)
        if graph.uses[op.ins[0]] != 1:
            raise UnsupportedOperation(
                f"zB rule: the input of the first layer's {op.name} is read more than once"
            )
        op = graph.maker[op.ins[0]]
    first = cast("Weighted | None", op)
    if first is None or first.output is None or not _alone(graph, first.ins[0]):
        raise UnsupportedOperation(
            f"zB rule: the image must be read by one first layer alone; {HINT}"
        )
    weight = first.weight
    bias = weight.new_zeros(weight.shape[0]) if first.bias is None else first.bias.detach()
    scale = None if norm is None else norm.scale()
    if norm is not None and scale is not None:
        bias = bias * scale + norm.shift()
    return FirstLayer(first.output, weight, first.bias, scale, bias, first.options, stem)


def _alone(graph: Graph, node: int) -> bool:
    """Whether what lies between the image and a layer's input `node` leads to that layer alone."""
    reads, todo, ops = {node: 1}, [node], set[int]()
    while todo:
        op = graph.maker[todo.pop()]
        if op is None or id(op) in ops:
            continue
        ops.add(id(op))
        for before in op.ins:
            reads[before] = reads.get(before, 0) + 1
            todo.append(before)
    return all(graph.uses[n] == count for n, count in reads.items())


def propagate_zb(
    x: Tensor, relevance: Tensor, layer: FirstLayer, epsilon: float, low: Tensor, high: Tensor
) -> Tensor:
    """Carries relevance from the first layer's output to the pixels by the zB rule.

    Source: docs/lrp.md, section 2.8.

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
    share = _share_linear if layer.options is None else _share_convolution
    up, down = share(x, relevance, layer, epsilon, low, high)
    return (x - low.view(-1, 1, 1)) * up + (x - high.view(-1, 1, 1)) * down


def _share_convolution(
    x: Tensor, relevance: Tensor, layer: FirstLayer, epsilon: float, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """W⁺ᵀs and W⁻ᵀs of a convolution; with a stem before it, the rule on both maps as one.

    With u = factor·x + constant the map has the weights W·factor, those of repeated channels
    summed; each constant is its own lower and upper bound and cancels out.
    """
    options, stem = cast("ConvOptions", layer.options), cast("Layout | None", layer.stem)
    weight, size, inner = layer.fuse_weights(), x.shape[2:], None
    folded, own, ends = weight, options, (low, high)
    if stem is not None:
        size, inner = stem.constant.shape[1:], stem.inner()
        folded, own = fold_weights(weight, stem, x.shape[1], options)
        constant = stem.constant[:, inner[0], inner[1]][:, 0, 0]
        ends = map_bounds(stem.channels, stem.factor, constant, low, high)
    positive, negative = _signs(folded)
    taps = sum_over_channels(positive, low, own.groups)
    taps = taps + sum_over_channels(negative, high, own.groups)
    H, W = size
    outside = convolve_ones(taps, own, (H, W), (relevance.shape[-2], relevance.shape[-1]), inner)
    if stem is not None:
        outside = outside + options.apply(stem.constant[None], weight)[0]
    outside = outside + _bias_terms(layer.bias, *ends).view(-1, 1, 1)
    s = divide(relevance, layer.subtract(outside), epsilon)
    parts = _both(s, positive, negative, own, (H, W))
    if stem is None:
        return parts
    up, down = (F.pad(part, _place_in_image(stem)) for part in parts)
    return up, down


def _share_linear(
    x: Tensor, relevance: Tensor, layer: FirstLayer, epsilon: float, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """As `_share_convolution`; behind a stem each value has its own pixel and factor."""
    stem, weight, shape = cast("Stem | None", layer.stem), layer.fuse_weights(), x.shape[1:]
    lows, highs = (bound.view(-1, 1, 1).expand(shape).flatten() for bound in (low, high))
    folded, ends = weight, (low, high)
    if stem is not None:
        places, factor = stem.pixel[0].flatten(), stem.factor[0].flatten()
        constant = stem.constant[0].flatten()
        ends = map_bounds(tuple(places.tolist()), factor, constant, lows, highs)
        known = (places >= 0).nonzero()[:, 0].to(weight.device, non_blocking=True)
        index = places[places >= 0].to(weight.device, non_blocking=True)
        folded = weight.new_zeros(len(weight), shape.numel())
        folded = folded.index_add(1, index, (weight * factor)[:, known])
    positive, negative = _signs(folded)
    outside = _bias_terms(layer.bias, *ends) + positive @ lows + negative @ highs
    if stem is not None:
        outside = outside + weight @ constant
    s = divide(relevance, layer.subtract(outside), epsilon)
    up, down = ((s @ w).view(*s.shape[:2], *shape) for w in (positive, negative))
    return up, down


def fold_weights(
    weight: Tensor, stem: Layout, channels: int, options: ConvOptions
) -> tuple[Tensor, ConvOptions]:
    """Weights W·factor of the image's own channels, and the geometry of their convolution.

    Args:
        weight: W [O, I/groups, kh, kw].
        stem: What stands before.
        channels: C of the image.
        options: Geometry of the convolution.
    """
    groups, outputs = options.groups, weight.shape[0]
    factors = stem.factor.view(groups, -1).repeat_interleave(outputs // groups, 0)
    factors = factors[:, :, None, None]
    weight = weight * factors
    if stem.is_plain() and len(stem.channels) == channels:
        return weight, options
    per = weight.shape[1]
    own = ConvOptions(options.stride, options.padding, options.dilation, 1)
    parts = []
    for group, rows in enumerate(weight.chunk(groups)):
        behind = stem.channels[group * per : (group + 1) * per]
        known = [i for i, channel in enumerate(behind) if channel >= 0]
        index = torch.tensor([behind[i] for i in known], dtype=torch.long)
        index = index.to(weight.device, non_blocking=True)
        kept = rows[:, known] if len(known) < per else rows
        empty = rows.new_zeros(len(rows), channels, *rows.shape[2:])
        parts.append(empty.index_add(1, index, kept))
    return torch.cat(parts), own


def map_bounds(
    channels: tuple[int, ...], factor: Tensor, constant: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Bounds [I] of factor·x + constant for x within `low` and `high`; constant ones left out.

    Args:
        channels: Channel (or pixel) of the image behind each value, below 0: none.
        factor: [I].
        constant: [I].
        low: Lower bound per channel of the image [C].
        high: Upper bound per channel of the image [C].
    """
    known = [i for i, channel in enumerate(channels) if channel >= 0]
    index = torch.tensor([channels[i] for i in known]).to(low.device, non_blocking=True)
    factor, constant = factor[known], constant[known]
    ends = factor * low[index] + constant, factor * high[index] + constant
    return torch.minimum(*ends), torch.maximum(*ends)


def _place_in_image(stem: Layout) -> tuple[int, int, int, int]:
    """What `F.pad` takes to cut a signal of the stem's values to the image."""
    (top, left), (H, W) = stem.offset, stem.size
    height, width = stem.constant.shape[1:]
    return -left, W + left - width, -top, H + top - height


def _signs(weight: Tensor) -> tuple[Tensor, Tensor]:
    zero = torch.zeros_like(weight)
    return torch.maximum(weight, zero), torch.minimum(weight, zero)


def _bias_terms(bias: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """l·b⁺ + h·b⁻ with the means of the bounds."""
    none = torch.zeros_like(bias)
    return low.mean() * torch.maximum(bias, none) + high.mean() * torch.minimum(bias, none)


def _both(
    s: Tensor, positive: Tensor, negative: Tensor, options: ConvOptions, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """W⁺ᵀs and W⁻ᵀs, [K, B, I, H, W] each; in one call where there are no groups."""
    flat = s.flatten(0, 1)
    if options.groups == 1:
        both = _Transposed.apply(flat, torch.cat([positive, negative], 1), options, size)
        both = both.view(*s.shape[:2], *both.shape[1:])
        half = both.shape[2] // 2
        return both[:, :, :half], both[:, :, half:]
    up, down = (options.transpose(flat, w, size) for w in (positive, negative))
    return up.view(*s.shape[:2], *up.shape[1:]), down.view(*s.shape[:2], *down.shape[1:])


class _Transposed(Function):
    """Wᵀs for W of two halves, with derivatives by the kernels that are quick for each."""

    @staticmethod
    def forward(
        ctx: Any, s: Tensor, weight: Tensor, options: ConvOptions, size: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(s, weight)
        ctx.options = options
        return options.transpose(s, weight, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        s, weight = ctx.saved_tensors
        options: ConvOptions = ctx.options
        halves = zip(grads[0].chunk(2, 1), weight.chunk(2, 1), strict=True)
        dw = torch.cat([options.differentiate_weight(u, s, w) for u, w in halves], 1)
        return options.apply(grads[0], weight), dw, None, None


def sum_over_channels(weight: Tensor, values: Tensor, groups: int) -> Tensor:
    """Σ_i W_oi·v_i: the taps [O, kh, kw] of W [O, I/groups, kh, kw] for constant planes v [I]."""
    per_group = values.view(groups, -1).repeat_interleave(weight.shape[0] // groups, 0)
    return (weight * per_group[:, :, None, None]).sum(1)


def convolve_ones(
    taps: Tensor,
    options: ConvOptions,
    size: tuple[int, int],
    output: tuple[int, int],
    inner: tuple[slice, slice] | None = None,
) -> Tensor:
    """What a convolution of a plane of ones gives [O, h, w]: the sum of the taps inside it.

    Args:
        taps: [O, kh, kw].
        options: Geometry.
        size: (H, W) of the plane.
        output: (h, w).
        inner: Rows and columns of the ones, the rest of the plane being zeros; None: all.
    """
    ones = inner or (slice(0, size[0]), slice(0, size[1]))
    found = taps
    for axis in (0, 1):
        centre = torch.arange(output[axis], device=taps.device) * options.stride[axis]
        tap = torch.arange(taps.shape[1 + axis], device=taps.device) * options.dilation[axis]
        at = tap[:, None] + centre - options.padding[axis]
        inside = ((at >= ones[axis].start) & (at < ones[axis].stop)).to(
            taps.dtype
        )  # [taps, output]
        found = found.transpose(1, 2) @ inside  # [O, the other axis, output]
    return found


def divide(relevance: Tensor, z: Tensor, epsilon: float) -> Tensor:
    """R/(z + epsilon·sgn z), with its derivatives in few passes.

    Args:
        relevance: [K, *z.shape].
        z: Denominator.
        epsilon: Stabiliser, >= 0.
    """
    found: Tensor = _Divide.apply(relevance, z, epsilon)
    return found


class _Divide(Function):
    @staticmethod
    def forward(ctx: Any, relevance: Tensor, z: Tensor, epsilon: float) -> Tensor:
        d = stabilise(z, epsilon)
        found = relevance / d
        ctx.save_for_backward(found, d)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        s, d = ctx.saved_tensors
        dR = grads[0] / d
        dz = torch.addcmul(d.new_zeros(()), dR, s, value=-1)
        return dR, dz.squeeze(0) if len(dz) == 1 else dz.sum(0), None
