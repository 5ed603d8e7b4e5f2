"""What a network does to its image before the first layer, where that is affine, pixel by pixel.

Padding by constants, normalisation by constants and repeated, chosen or reordered channels: each
value behind them is factor · one pixel + constant, or a constant. `Stems` follows such operations
while the network runs, by doing to three stand-ins of the image what is done to the image: an
image of zeros (the constants), one of ones (the factors), and one of the pixels' numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.ops.structure import CONCATENATIONS, RESHAPES, SIGNS
from isnet_lrp.record.graph import Graph

CASTS = frozenset({"contiguous", "clone", "to", "float", "double", "half", "bfloat16", "type",
                   "type_as", "positive", "cpu", "cuda"})  # fmt: skip
MOVES = RESHAPES | CONCATENATIONS | {
    "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "expand", "expand_as",
    "broadcast_to", "narrow", "select", "split", "split_with_sizes", "chunk", "tensor_split",
    "unsafe_chunk", "unsafe_split", "unbind", "getitem", "index_select", "pad", "repeat",
    "repeat_interleave", "tile", "stack", "flip", "fliplr", "flipud", "roll",
}  # fmt: skip
FACTORS = frozenset({"mul", "multiply", "div", "divide", "true_divide", "neg", "negative"})
NONE = -1  # number of the pixel where there is none: a constant
HINT = "use zb=None, or do this to the images before the network and give the bounds they then have"


@dataclass(frozen=True, eq=False)
class Stem:
    """An affine function of single pixels.

    Attributes:
        constant: Its value for an image of zeros [B, ...].
        factor: What each value is multiplied by; 0 where there is no pixel.
        pixel: Number of the pixel in the batch that each value comes from, int64 on the CPU.
    """

    constant: Tensor
    factor: Tensor
    pixel: Tensor

    def scaled(self, scale: Tensor, shift: Tensor) -> Stem:
        """Behind a factor and a term per channel."""
        shape = (-1, *([1] * (self.constant.dim() - 2)))
        moved = self.constant * scale.view(shape) + shift.view(shape)
        return Stem(moved, self.factor * scale.view(shape), self.pixel)


@dataclass(frozen=True)
class Layout:
    """A stem whose values keep the places of the pixels, shifted.

    u[i, y, x] = factor[i] · image[channels[i], y - top, x - left] + constant[i, y, x]; outside
    the image there is the constant alone.

    Attributes:
        channels: The image's channel behind each channel; `NONE`: a constant one.
        factor: [I].
        constant: [I, H', W'].
        offset: Of the image's first pixel: (top, left), negative where it is cut off.
        size: (H, W) of the image.
    """

    channels: tuple[int, ...]
    factor: Tensor
    constant: Tensor
    offset: tuple[int, int]
    size: tuple[int, int]

    def inner(self) -> tuple[slice, slice]:
        """Rows and columns where pixels of the image are."""
        rows, columns = (
            slice(max(at, 0), min(at + n, whole))
            for at, n, whole in zip(self.offset, self.size, self.constant.shape[1:], strict=True)
        )
        return rows, columns

    def is_plain(self) -> bool:
        """Whether channel i comes from the image's channel i, for all of them."""
        return self.channels == tuple(range(len(self.channels)))


class Stems:
    """Follows a forward pass from the image to the first layer.

    Args:
        image: The network's input [B, C, H, W], node 0.

    Attributes:
        ended_by: The first operation behind which there is no stem, or None.
    """

    def __init__(self, image: Tensor) -> None:
        ones = image.detach().new_ones(()).expand_as(image)
        numbers = torch.arange(image.numel()).view(image.shape)
        self._found: dict[int, Stem] = {0: Stem(torch.zeros_like(ones), ones, numbers)}
        self.ended_by: str | None = None

    def __len__(self) -> int:
        return len(self._found)

    def take(self, node: int) -> Stem | None:
        """The stem that ends at `node`, if there is one; it is followed no further."""
        found = self._found.get(node)
        if found is not None:
            self._found = {}
        return found

    def follow(
        self,
        graph: Graph,
        find_node: Callable[[Tensor], int | None],
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
    ) -> None:
        """Takes note of an operation that reads nothing but stems, if its results are stems."""
        given = _Parts(find_node, self._found)
        constant = given.replace((args, kwargs), lambda s: s.constant, None)
        if given.other or not given.stems:
            return
        factor = given.replace((args, kwargs), lambda s: s.factor, 0.0)
        pixel = given.replace((args, kwargs), lambda s: s.pixel, NONE)
        outs = list(out) if isinstance(out, (tuple, list)) else [out]
        stems = _apply(graph, name, func, (constant, factor, pixel), given.stems)
        if not stems and self.ended_by is None:
            self.ended_by = name
        for tensor, stem in zip(outs, stems, strict=False):
            node = find_node(tensor)
            if node is not None:
                self._found[node] = stem


def _apply(
    graph: Graph,
    name: str,
    func: Callable[..., Any],
    given: tuple[Any, Any, Any],
    stems: list[Stem],
) -> list[Stem]:
    """Stems of the results; none where the operation does not leave them such."""
    (args, kwargs), (factors, _), (numbers, places) = given
    first = stems[0]
    if name == "batch_norm":
        affine = graph.ops[-1].as_affine()
        return [] if affine is None else [first.scaled(*affine)]
    if name == "pad":
        return _pad(func, given)
    if name in SIGNS and len(stems) == 1 and not kwargs:
        sign = SIGNS[name][0 if args[0] is first.constant else 1]
        value, factor = func(*args), first.factor if sign > 0 else -first.factor
        return [Stem(value, factor.expand_as(value), first.pixel.expand(value.shape))]
    product = name in ("mul", "multiply") or (args and args[0] is first.constant)
    if name in FACTORS and product and len(stems) == 1 and not kwargs:
        value = func(*args)
        return [Stem(value, func(*factors), first.pixel.expand(value.shape))]
    if name not in CASTS | MOVES:
        return []
    made = [func(*args, **kwargs), func(*factors, **kwargs), first.pixel]
    if name in MOVES:
        made[2] = func(*numbers, **places)
    lists = [list(m) if isinstance(m, (tuple, list)) else [m] for m in made]
    return [Stem(*parts) for parts in zip(*lists, strict=True)]


def _pad(func: Callable[..., Any], given: tuple[Any, Any, Any]) -> list[Stem]:
    def parse(
        input: Tensor,  # noqa: A002
        pad: Any,
        mode: str = "constant",
        value: float | None = None,
    ) -> tuple[Tensor, Any, str, float]:
        return input, pad, mode, 0.0 if value is None else value

    (x, sizes, mode, value), (factor, *_), (pixel, *_) = (parse(*a, **k) for a, k in given)
    if mode != "constant":
        return []
    made = (func(t, sizes, "constant", v) for t, v in ((x, value), (factor, 0.0), (pixel, NONE)))
    return [Stem(*made)]


class _Parts:
    """Puts what is known of stems in place of the tensors that depend on the image.

    Attributes:
        stems: The stems found.
        other: Whether a tensor that depends on the image is none.
    """

    def __init__(self, find_node: Callable[[Tensor], int | None], known: dict[int, Stem]) -> None:
        self.stems: list[Stem] = []
        self.other = False
        self._find_node, self._known = find_node, known

    def replace(self, value: Any, part: Callable[[Stem], Tensor], constant: float | None) -> Any:
        """`value` with `part` of each stem; constant tensors in lists become `constant`."""
        self.stems = []
        args, kwargs = value
        listed = [self._put(a, part, constant, False) for a in args]
        return tuple(listed), {k: self._put(a, part, constant, False) for k, a in kwargs.items()}

    def _put(
        self, value: Any, part: Callable[[Stem], Tensor], constant: float | None, inside: bool
    ) -> Any:
        if isinstance(value, Tensor):
            node = self._find_node(value)
            if node is not None:
                stem = self._known.get(node)
                self.other = self.other or stem is None
                if stem is not None:
                    self.stems.append(stem)
                    return part(stem)
            elif constant == NONE:
                return torch.full(value.shape, NONE) if inside else value.cpu()
            elif constant is not None and inside:
                return torch.full_like(value, constant)
            return value
        if isinstance(value, (tuple, list)) and any(isinstance(v, Tensor) for v in value):
            return type(value)(self._put(v, part, constant, True) for v in value)
        return value


def find_layout(stem: Stem, shape: torch.Size) -> Layout:
    """The stem of a convolution [B, I, H', W'] as shifted channels.

    Args:
        stem: Values that the convolution reads.
        shape: Of the image [B, C, H, W].

    Raises:
        UnsupportedOperation: Pixels lie elsewhere, or factors differ from pixel to pixel.
    """
    B, C, H, W = shape
    pixel = stem.pixel
    if pixel.dim() != 4 or pixel.shape[0] != B or not bool((pixel[:1] >= 0).any()):
        raise _elsewhere("does not have the image's form")
    whole = pixel[0]
    known = whole >= 0
    y, x = (torch.arange(n) for n in whole.shape[1:])
    channel, row, column = whole // (H * W), whole // W % H, whole % W
    at = known.nonzero()[0]
    top, left = int(at[1] - row[tuple(at)]), int(at[2] - column[tuple(at)])
    channels = torch.where(known, channel, NONE).flatten(1).amax(1)
    inside = ((y >= top) & (y < top + H))[:, None] & ((x >= left) & (x < left + W))
    expected = channels[:, None, None] * H * W + (y - top)[:, None] * W + (x - left)
    expected = torch.where(inside & (channels >= 0)[:, None, None], expected, NONE)
    shift = torch.arange(B).view(-1, 1, 1, 1) * (C * H * W)
    if not torch.equal(pixel, torch.where(expected >= 0, expected + shift, NONE)):
        raise _elsewhere("moves the pixels")
    layout = Layout(tuple(channels.tolist()), stem.factor[0], stem.constant[0], (top, left), (H, W))
    rows, columns = layout.inner()
    factor = stem.factor[0, :, rows, columns][:, :1, :1]
    return Layout(layout.channels, factor[:, 0, 0], layout.constant, layout.offset, layout.size)


def check_uniform(stem: Stem, layout: Layout) -> None:
    """Looks at the values: the same in all images, and one factor per channel.

    Raises:
        UnsupportedOperation: They are not.
    """
    rows, columns = layout.inner()
    factor = stem.factor[:, :, rows, columns].detach()
    same = (factor == layout.factor.detach()[:, None, None]).all()
    constant = stem.constant.detach()
    inner = constant[:, :, rows, columns]
    known = torch.tensor(layout.channels).to(inner.device, non_blocking=True) >= 0
    flat = ((inner == inner[:, :, :1, :1]) | ~known[:, None, None]).all()
    if not bool(same & flat & (constant == constant[:1]).all()):
        raise _elsewhere("changes each pixel in its own way")


def _elsewhere(what: str) -> UnsupportedOperation:
    return UnsupportedOperation(f"zB rule: what stands before the first layer {what}; {HINT}")
