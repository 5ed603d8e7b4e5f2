"""Sums, concatenations and whatever moves, selects or drops values: names, recording and rules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from isnet_lrp.errors import RelevanceWarning
from isnet_lrp.record.graph import Graph, Op, Passing, Route, Signals
from isnet_lrp.record.sites import PendingSite, Sites, count_channels
from isnet_lrp.record.table import records

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder

RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze",
                      "view_as", "reshape_as", "ravel"})  # fmt: skip
# Operations that only move, copy or drop values; relevance moves with them.
ROUTES = frozenset({
    "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint", "T",
    "mT", "H", "mH", "expand", "expand_as", "narrow", "select", "split", "split_with_sizes",
    "chunk", "tensor_split", "unsafe_chunk", "unsafe_split", "hsplit", "vsplit", "dsplit",
    "unbind", "getitem", "setitem", "index_select", "gather", "take_along_dim", "masked_select",
    "flip", "fliplr", "flipud", "rot90", "roll", "contiguous", "clone", "to", "float", "double",
    "half", "bfloat16", "type", "type_as", "pad", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "native_channel_shuffle", "unfold", "as_strided", "repeat",
    "repeat_interleave", "tile", "stack", "hstack", "vstack", "dstack", "column_stack",
    "positive", "masked_fill", "where", "tril", "triu", "diagonal", "diag_embed", "broadcast_to",
    "atleast_1d", "atleast_2d", "atleast_3d", "cpu", "cuda", "scatter", "index_copy",
    "index_fill", "select_scatter", "slice_scatter", "masked_scatter",
})  # fmt: skip
# Of these a second tensor only gives shape, type or place.
TEMPLATES = frozenset({"expand_as", "type_as", "to"})
FOURIER = frozenset({
    "fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_fft2", "fft_ifft2", "fft_rfft2",
    "fft_irfft2", "fft_fftn", "fft_ifftn", "fft_rfftn", "fft_irfftn", "fft_fftshift",
    "fft_ifftshift", "view_as_real", "view_as_complex", "real", "imag",
})  # fmt: skip
# Linear in their inputs that depend on the image: torch's own product is the rule.
LINEAR = FOURIER | {
    "neg", "negative", "cumsum", "interpolate", "upsample", "fold", "diff", "rmatmul",
    "scatter_add", "index_add",
}  # fmt: skip
# What may stand between a gate's function and its product.
PASSING = ROUTES | RESHAPES | {"mul", "div", "neg", "interpolate", "upsample"}
DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout",
                      "alpha_dropout", "feature_alpha_dropout"})  # fmt: skip
# The winner takes all, as in max pooling.
SELECTIONS = frozenset({"max", "min", "amin", "aminmax", "maximum", "minimum", "fmax", "fmin",
                        "topk", "sort", "msort", "median", "kthvalue"})  # fmt: skip
# Positively homogeneous of degree one: x·f'(x) = f(x), so the plain gradient conserves relevance;
# no rule of its own, therefore a warning.
HOMOGENEOUS = frozenset({"abs", "absolute", "lp_pool1d", "lp_pool2d", "lp_pool3d", "hypot"})
ADDITIONS = frozenset({"add", "sub", "subtract", "rsub"})
CONCATENATIONS = frozenset({"cat", "concat", "concatenate"})
SIGNS = {"add": (1, 1), "sub": (1, -1), "subtract": (1, -1), "rsub": (-1, 1)}
SHIFT = "add a number"  # name of a sum with a number, by which gates are recognised


@dataclass(eq=False)
class Sum(Op):
    """Sum of tensors of one shape (constants among them have no node).

    Attributes:
        sign: Of each input.
        values: The inputs, kept where a family needs them.
    """

    sign: tuple[int, ...] = (1,)
    values: tuple[Tensor, ...] = ()
    routes: ClassVar[bool] = True

    def propagate(self, signals: Signals) -> Signals:
        """The same signal to every term."""
        g = signals[0]
        if g is None:
            return [None] * len(self.ins)
        return [g if s > 0 else -g for s in self.sign]

    def kept(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The terms and their sum."""
        return self.values, [sum(v * s for v, s in zip(self.values, self.sign, strict=True))]  # type: ignore[list-item]

    def share(self, relevance: Signals, epsilon: float) -> Signals:
        """In proportion to the terms; constants among them take nothing."""
        return relevance if len(self.ins) == 1 else super().share(relevance, epsilon)

    def is_gate(self, graph: Graph, passing: frozenset[str]) -> bool:
        """Of gates, or a shifted saturating function: relu6(x + 3), 1 + tanh(x)."""
        if self.name != SHIFT:
            return super().is_gate(graph, passing)
        before = graph.maker[self.ins[0]]
        saturated = before is not None and before.saturates(graph, PASSING)
        return saturated or graph.is_gate(self.ins[0], passing)

    def shifts(self) -> bool:
        """Whether one term is a number."""
        return self.name == SHIFT

    def nonnegative(self, graph: Graph) -> bool:
        """Not where something is taken away."""
        return all(s > 0 for s in self.sign) and super().nonnegative(graph)

    def make_sites(
        self, read: Sequence[Sites], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> Sites:
        """A sum of several terms is one."""
        return (PendingSite(0, count_channels(outputs[0])),) if len(self.ins) > 1 else ()


@dataclass(eq=False)
class Concat(Op):
    """Concatenation along one axis.

    Attributes:
        axis: Non-negative axis of the inputs.
        sizes: Length of every part along it.
        live: Positions of the parts that have nodes.
        before: (node, n) of the latest concatenation of this one's first n parts, or None.
        whole: The first part's signal may stay a view (its node is that of several parts).
    """

    axis: int = 1
    sizes: tuple[int, ...] = ()
    live: tuple[int, ...] = ()
    before: tuple[int, int] | None = None
    whole: bool = False
    routes: ClassVar[bool] = True

    def propagate(self, signals: Signals) -> Signals:
        """The part of the signal that belongs to each input."""
        g = signals[0]
        if g is None:
            return [None] * len(self.ins)
        parts = torch.split_with_sizes(g, self.sizes, self.axis + 1)
        # What is kept of a view keeps the whole: the layers' own parts are copied.
        return [
            parts[i] if self.whole and i == 0 else parts[i].contiguous() for i in self.live
        ]  # fmt: skip

    def share(self, relevance: Signals, epsilon: float) -> Signals:
        """Each input has its own part."""
        return self.propagate(relevance)

    def shorten(self, kept: frozenset[int]) -> Concat:
        """The same through an earlier concatenation in place of its parts.

        A dense block concatenates all its layers before every layer; going through the earlier
        concatenation, its cost is linear in the layers, not quadratic. The sums are the same.

        Args:
            kept: Nodes that may not stand for others: their own signal is asked for.
        """
        if self.before is None or self.before[0] in kept:
            return self
        node, n = self.before
        sizes = sum(self.sizes[:n]), *self.sizes[n:]
        ins = node, *self.ins[n:]
        return Concat(self.name, ins, self.outs, self.axis, sizes, tuple(range(len(ins))),
                      whole=True)  # fmt: skip

    def takes_in_sites(self) -> bool:
        """The readers of its channels decide."""
        return self.axis == 1

    def make_sites(
        self, read: Sequence[Sites], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> Sites:
        """Those of its parts, where they now stand."""
        if self.axis != 1:
            return ()
        starts = [sum(self.sizes[:i]) for i in self.live]
        return tuple(p.behind(at) for at, own in zip(starts, read, strict=True) for p in own)

    def joined(self) -> tuple[int, ...]:
        """Its parts, if they are channels."""
        return self.ins if self.axis == 1 else ()


@dataclass(eq=False)
class Reshape(Op):
    """A view of the same elements in the same order, or no change at all.

    Attributes:
        shape: Shape of the input.
    """

    shape: tuple[int, ...] = ()
    routes: ClassVar[bool] = True

    def propagate(self, signals: Signals) -> Signals:
        """The signal in the input's shape."""
        g = signals[0]
        return [None if g is None else g.reshape(g.shape[0], *self.shape)]

    def share(self, relevance: Signals, epsilon: float) -> Signals:
        """The relevance in the input's shape."""
        return self.propagate(relevance)


def first_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The argument `input`, given by place or by name."""
    found: Tensor = args[0] if args else kwargs["input"]
    return found


@records(ADDITIONS)
def record_sum(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Sums and differences, with constants or between tensors of one shape."""
    a, b = args[0], args[1] if len(args) > 1 else kwargs["other"]
    terms = [(t, s) for t, s in zip((a, b), SIGNS[name], strict=True)
             if isinstance(t, Tensor) and recorder.find_node(t) is not None]  # fmt: skip
    y = func(*args, **kwargs) if not kwargs and len(args) == 2 else None
    if y is None or any(t.shape != y.shape for t, _ in terms):
        return recorder.record_local(name, func, args, kwargs)
    number = not isinstance(a, Tensor) or not isinstance(b, Tensor)
    op = Sum(SHIFT if number else name, (), sign=tuple(s for _, s in terms),
             values=tuple(t for t, _ in terms) if recorder.rules.values else ())  # fmt: skip
    recorder.record(op, tuple(t for t, _ in terms), (y,))
    return y


@records(CONCATENATIONS)
def record_concat(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Concatenation."""
    parts = list(args[0] if args else kwargs["tensors"])
    axis = int(args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0)))
    y = torch.cat(parts, axis)
    live = tuple(i for i, t in enumerate(parts) if recorder.find_node(t) is not None)
    axis = axis % y.dim()
    op = Concat(name, (), axis=axis, sizes=tuple(t.shape[axis] for t in parts), live=live)
    recorder.record(op, tuple(parts[i] for i in live), (y,))
    if axis == 1 and len(live) == len(parts):
        op.before = recorder.graph.join(op.ins, op.outs[0])
    return y


@records(RESHAPES)
def record_reshape(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Views of the same elements."""
    x = args[0]
    if recorder.find_node(x) is None:  # only the shape is the image's
        return recorder.record_constant(func(*args, **kwargs))
    y = func(*args, **kwargs)
    if y is x:
        return y
    if not (isinstance(y, Tensor) and y.dtype == x.dtype and y.numel() == x.numel()):
        return recorder.record_local(name, func, args, kwargs)
    recorder.record(Reshape(name, (), shape=tuple(x.shape)), (x,), (y,))
    return y


@records(LINEAR | SELECTIONS)
def record_own_product(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Linear operations, and selections, whose winner takes all."""
    return recorder.record_local(name, func, args, kwargs)


@records(ROUTES - TEMPLATES)
def record_route(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Operations that move values."""
    return recorder.record_local(name, func, args, kwargs, Route)


@records(HOMOGENEOUS)
def record_homogeneous(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Positively homogeneous functions: their own gradient conserves relevance."""
    warnings.warn(
        f"{name}: no relevance rule of its own; its gradient is used, which conserves relevance "
        "since the function is homogeneous",
        RelevanceWarning,
        stacklevel=2,
    )
    return recorder.record_local(name, func, args, kwargs)


@records(DROPOUTS)
def record_dropout(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Dropout: linear while training, nothing otherwise."""
    given = dict(zip(("input", "p", "training"), args, strict=False)) | kwargs
    if not given.get("training", True) or given.get("p", 0.5) == 0:
        return given["input"]
    return recorder.record_local(name, func, args, kwargs, Passing)
