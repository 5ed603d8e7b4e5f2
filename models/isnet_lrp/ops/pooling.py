"""Pooling: names, recording and rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from isnet_lrp.kernels.convolution import Pair, as_pair
from isnet_lrp.ops.structure import first_argument
from isnet_lrp.record.graph import Graph, Local, Op, Signals
from isnet_lrp.record.sites import PendingSite, Sites, count_channels
from isnet_lrp.record.table import Signature, records

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder

POOLS = frozenset({
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "mean", "sum", "max_pool1d", "max_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "max_pool1d_with_indices",
    "max_pool3d_with_indices", "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d_with_indices", "amax",
})  # fmt: skip
MAX_POOLS = frozenset({"max_pool2d", "max_pool2d_with_indices"})


MAX_POOL = Signature("input kernel_size", stride=None, padding=0, dilation=1, ceil_mode=False,
                     return_indices=False)  # fmt: skip


class Pooling(Op):
    """What all poolings have in common."""

    pools: ClassVar[bool] = True

    def make_sites(
        self, read: Sequence[Sites], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> Sites:
        """All channels."""
        return (PendingSite(0, count_channels(outputs[0]), pool=True),)


@dataclass(eq=False)
class Pool(Pooling, Local):
    """Average pooling or a mean over axes."""

    routes: ClassVar[bool] = True


@dataclass(eq=False)
class GlobalPool(Pooling):
    """Mean over height and width to [B, C, 1, 1].

    Attributes:
        size: Height and width of the input.
        inner: The input, kept where a family needs it.
        value: The output, kept where a family needs it.
    """

    size: tuple[int, int] = (1, 1)
    inner: Tensor | None = None
    value: Tensor | None = None
    routes: ClassVar[bool] = True

    def kept(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Input and output."""
        assert self.inner is not None and self.value is not None  # noqa: S101, PT018
        return [self.inner], [self.value]

    def propagate(self, signals: Signals) -> Signals:
        """g/(H·W) everywhere."""
        g = signals[0]
        if g is None:
            return [None]
        return [(g / (self.size[0] * self.size[1])).expand(*g.shape[:-2], *self.size)]


@dataclass(eq=False)
class MaxPool(Pooling):
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

    def propagate(self, signals: Signals) -> Signals:
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

    def kept(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Input and output."""
        assert self.value is not None  # noqa: S101 - kept for such a family
        return [self.inner], [self.value]

    def nonnegative(self, graph: Graph) -> bool:
        """As its input."""
        return graph.nonnegative(self.ins[0])


@records(MAX_POOLS)
def record_max_pool(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Two-dimensional max pooling."""
    x, kernel, stride, padding, dilation, ceil, both = MAX_POOL.read(args, kwargs)
    stride = kernel if stride is None or stride == [] else stride
    y, indices = torch.ops.aten.max_pool2d_with_indices(
        x, as_pair(kernel), as_pair(stride), as_pair(padding), as_pair(dilation), ceil
    )
    op = MaxPool(
        name, (), inner=x, indices=indices, kernel=as_pair(kernel), stride=as_pair(stride),
        padding=as_pair(padding), dilation=as_pair(dilation), ceil=ceil, value=_kept(recorder, y),
    )  # fmt: skip
    recorder.record(op, (x,), (y,))
    return (y, indices) if both or name.endswith("with_indices") else y


@records(POOLS)
def record_pool(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Average pooling and means."""
    x = first_argument(args, kwargs)
    size = args[1] if len(args) > 1 else kwargs.get("output_size")
    if name == "adaptive_avg_pool2d" and size in (1, (1, 1), [1, 1]) and x.dim() == 4:
        y = x.mean((2, 3), keepdim=True)
        op = GlobalPool(name, (), size=(x.shape[2], x.shape[3]),
                        inner=_kept(recorder, x), value=_kept(recorder, y))  # fmt: skip
        recorder.record(op, (x,), (y,))
        return y
    return recorder.record_local(name, func, args, kwargs, Pool)


def _kept(recorder: Recorder, value: Tensor) -> Tensor | None:
    return value if recorder.rules.values else None
