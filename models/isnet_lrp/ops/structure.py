"""Pooling, sums and concatenations: linear operations without weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isnet_lrp.kernels.strided import Pair
from isnet_lrp.record.graph import Local, Op, Signals


@dataclass(eq=False)
class Pool(Local):
    """Average pooling or a mean over axes.

    Attributes:
        value: The output, kept where a family needs it.
    """

    value: Tensor | None = None


@dataclass(eq=False)
class GlobalPool(Op):
    """Mean over height and width to [B, C, 1, 1].

    Attributes:
        size: Height and width of the input.
    """

    size: tuple[int, int] = (1, 1)
    inner: Tensor | None = None
    value: Tensor | None = None

    def signal(self, signals: Signals) -> Signals:
        """g/(H·W) everywhere."""
        g = signals[0]
        if g is None:
            return [None]
        return [(g / (self.size[0] * self.size[1])).expand(*g.shape[:-2], *self.size)]


@dataclass(eq=False)
class MaxPool(Op):
    """Two-dimensional max pooling; overlapping windows with one winner add their signals.

    Attributes:
        inner: The input, whose shape the kernel needs.
        indices: Winners' positions.
        kernel, stride, padding, dilation, ceil: Geometry.
        value: The output, kept where a family needs it.
    """

    inner: Tensor = None  # type: ignore[assignment]
    indices: Tensor = None  # type: ignore[assignment]
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil: bool = False
    value: Tensor | None = None

    def signal(self, signals: Signals) -> Signals:
        """Each signal to its window's winner."""
        g = signals[0]
        if g is None:
            return [None]
        inner = self.inner.detach().to(g.dtype)
        rows = [
            torch.ops.aten.max_pool2d_with_indices_backward(
                g[k], inner, self.kernel, self.stride, self.padding, self.dilation, self.ceil,
                self.indices,
            )
            for k in range(g.shape[0])
        ]  # fmt: skip
        return [rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(rows)]


@dataclass(eq=False)
class Sum(Op):
    """Sum of tensors of one shape (constants among them have no slot).

    Attributes:
        sign: Of each input.
        values: The inputs, kept where a family needs them.
    """

    sign: tuple[int, ...] = (1,)
    values: tuple[Tensor, ...] = ()

    def signal(self, signals: Signals) -> Signals:
        """The same signal to every term."""
        g = signals[0]
        if g is None:
            return [None] * len(self.ins)
        return [g if s > 0 else -g for s in self.sign]


@dataclass(eq=False)
class Concat(Op):
    """Concatenation along one axis.

    Attributes:
        axis: Non-negative axis of the inputs.
        sizes: Length of every part along it.
        live: Positions of the parts that have slots.
        before: (slot, n) of the latest concatenation of this one's first n parts, or None.
    """

    axis: int = 1
    sizes: tuple[int, ...] = ()
    live: tuple[int, ...] = ()
    before: tuple[int, int] | None = None

    def signal(self, signals: Signals) -> Signals:
        """The part of the signal that belongs to each input."""
        g = signals[0]
        if g is None:
            return [None] * len(self.ins)
        parts = torch.split_with_sizes(g, self.sizes, self.axis + 1)
        return [parts[i] for i in self.live]

    def shares(self, g: Tensor, wanted: frozenset[int]) -> list[tuple[int, Tensor]]:
        """(slot, signal) of the inputs, or of an earlier concatenation in place of its parts.

        A dense block concatenates all its layers before every layer; going through the earlier
        concatenation, its cost is linear in the layers, not quadratic. The sums are the same.

        Args:
            g: Signal of the output.
            wanted: Slots that may not stand for others: their own signal is asked for.
        """
        if self.before is None or self.before[0] in wanted:
            parts = torch.split_with_sizes(g, self.sizes, self.axis + 1)
            own = [parts[i].contiguous() for i in self.live]
            return list(zip(self.ins, own, strict=True))
        slot, n = self.before
        sizes = sum(self.sizes[:n]), *self.sizes[n:]
        parts = torch.split_with_sizes(g, sizes, self.axis + 1)
        # What is kept of a view keeps the whole: the layers' own parts are copied.
        own = [part.contiguous() for part in parts[1:]]
        return list(zip((slot, *self.ins[n:]), (parts[0], *own), strict=True))


@dataclass(eq=False)
class Reshape(Op):
    """A view of the same elements in the same order, or no change at all.

    Attributes:
        shape: Shape of the input.
    """

    shape: tuple[int, ...] = ()

    def signal(self, signals: Signals) -> Signals:
        """The signal in the input's shape."""
        g = signals[0]
        return [None if g is None else g.reshape(g.shape[0], *self.shape)]
