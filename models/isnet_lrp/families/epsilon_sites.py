"""The epsilon sites of LRP Block, found while the network runs (docs/lrp.md, section 2.13).

Every affine operation's output is a site where it is read, unless the reader takes it into its
own formula: BatchNorm (fused with the convolution before it, also through a pooling) and ReLU
(has an epsilon factor of its own). Through a concatenation the readers behind it decide. This gives
exactly the list of docs/lrp.md, section 2.13, for sequential networks, VGG, ResNet and DenseNet,
without names.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isnet_lrp.kernels.epsilon import apply_epsilon_factor, apply_recomputed_factor
from isnet_lrp.ops.activation import Activation, ReLU
from isnet_lrp.ops.norm import BatchNorm
from isnet_lrp.ops.pooling import GlobalPool, MaxPool, Pool
from isnet_lrp.ops.structure import Concat, Sum
from isnet_lrp.ops.weighted import Conv, Linear
from isnet_lrp.record.graph import Graph, Op, PendingSite


class EpsilonSites:
    """Follows the affine outputs of one forward pass that have no epsilon factor yet.

    Args:
        graph: The record, whose `pending`, `epsilon_sites` and `site_reads` it fills.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._merging: dict[
            int, tuple[int, int]
        ] = {}  # a pool's node: the read of it that is a site

    def read(self, op: Op, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """Looks at an operation that is about to be appended."""
        for position, (node, tensor) in enumerate(zip(op.ins, inputs, strict=True)):
            pending = self.graph.pending.get(node)
            if isinstance(op, BatchNorm):
                self._merge(node)
            if pending and not _takes_in(op):
                edge = (len(self.graph.ops), position)
                self.graph.site_reads.add(edge)
                self.graph.epsilon_sites[node] = tensor
                if _is_pool(op) and not any(p.pool for p in pending):
                    self._merging[op.outs[0]] = edge
        made = self._made(op, inputs, outputs)
        if made:
            self.graph.pending[op.outs[0]] = made

    def _merge(self, node: int) -> None:
        """A BatchNorm reads a pooled convolution: the three are one affine map, without a site."""
        self.graph.site_reads.discard(self._merging.get(node, (-1, -1)))
        maker = self.graph.maker[node]
        if isinstance(maker, Concat) and maker.axis == 1:
            for part in maker.ins:
                self._merge(part)

    def _made(
        self, op: Op, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> tuple[PendingSite, ...]:
        read = self.graph.pending.get(op.ins[0], ()) if op.ins else ()
        channels = outputs[0].shape[1] if outputs[0].dim() > 1 else 0
        if isinstance(op, Concat) and op.axis == 1:
            return self._joined(op)
        if isinstance(op, ReLU):
            _take_in(op, read, inputs[0], channels)
        if isinstance(op, (Conv, Linear)):
            plain = isinstance(op, Conv) or outputs[0].dim() == 2
            zero = op.bias.detach() - op.bias if op.bias is not None and plain else None
            made = PendingSite(0, channels, False, zero)
        elif isinstance(op, BatchNorm):
            inner = _zeros(read, channels)
            zero = None if inner is None else op.scale().detach() * inner
            if op.beta is not None:
                beta = op.beta.detach() - op.beta
                zero = beta if zero is None else zero + beta
            made = PendingSite(0, channels, False, zero, _denominator(op, inner))
        elif _is_pool(op) or (isinstance(op, Sum) and len(op.ins) > 1):
            made = PendingSite(0, channels, _is_pool(op))
        else:
            return ()
        return (made,)

    def _joined(self, op: Concat) -> tuple[PendingSite, ...]:
        starts = [0]
        for size in op.sizes:
            starts.append(starts[-1] + size)
        return tuple(
            PendingSite(starts[i] + p.start, starts[i] + p.stop, p.pool, p.zero, p.denominator)
            for i, node in zip(op.live, op.ins, strict=True)
            for p in self.graph.pending.get(node, ())
        )


def _take_in(op: ReLU, read: tuple[PendingSite, ...], inner: Tensor, channels: int) -> None:
    """Gives a ReLU what it divides by: the affine output before it, if there is one."""
    op.zero = _zeros(read, channels)
    op.denominator = _denominators(read, inner, op.zero)
    if not read:  # nothing affine before it: relevance passes unchanged
        op.epsilon = 0.0


def _takes_in(op: Op) -> bool:
    if isinstance(op, Concat):
        return op.axis == 1
    return isinstance(op, (BatchNorm, ReLU, Activation))


def _is_pool(op: Op) -> bool:
    return isinstance(op, (Pool, MaxPool, GlobalPool))


def _zeros(pending: tuple[PendingSite, ...], channels: int) -> Tensor | None:
    """The corrections of all channels [C], or None where no channel has one."""
    given = [p for p in pending if p.zero is not None]
    if not given:
        return None
    if len(given) == 1 and given[0].stop - given[0].start == channels:
        return given[0].zero
    parts, at = [], 0
    for p in given:
        assert p.zero is not None  # noqa: S101 - filtered above
        parts += [p.zero.new_zeros(p.start - at), p.zero]
        at = p.stop
    return torch.cat([*parts, parts[-1].new_zeros(channels - at)])


def _denominator(op: BatchNorm, zero: Tensor | None) -> Tensor | None:
    """The pre-activation with the batch's statistics as constants.

    Source: docs/lrp.md, sections 2.2, 2.12.
    """
    if not op.batch or op.value is None:
        return None
    shape = (-1, *([1] * (op.value.dim() - 2)))
    x = op.value if zero is None else op.value + zero.view(shape)
    return x * op.scale().view(shape) + op.shift().view(shape)


def _denominators(
    pending: tuple[PendingSite, ...], value: Tensor, zero: Tensor | None
) -> Tensor | None:
    """The recomputed pre-activations of all channels, or None where no channel has one."""
    if all(p.denominator is None for p in pending):
        return None
    if len(pending) == 1 and pending[0].stop - pending[0].start == value.shape[1]:
        return pending[0].denominator
    z = value if zero is None else value + zero.view(-1, *([1] * (value.dim() - 2)))
    parts, at = [], 0
    for p in pending:
        own = z[:, p.start : p.stop] if p.denominator is None else p.denominator
        parts += [z[:, at : p.start], own]
        at = p.stop
    return torch.cat([*parts, z[:, at:]], 1)


def apply_site_factors(
    g: Tensor, value: Tensor, pending: tuple[PendingSite, ...], epsilon: float
) -> Tensor:
    """Applies the epsilon factors of the pending channels to a signal [K, *value.shape]."""
    whole = value.dim() < 2 or pending[0].stop - pending[0].start == value.shape[1]
    if len(pending) == 1 and whole:
        return _apply_site_factor(g, value, pending[0], epsilon)
    parts, at = [], 0
    for p in pending:
        inner = slice(p.start, p.stop)
        own = _apply_site_factor(g[:, :, inner], value[:, inner], p, epsilon)
        parts += [g[:, :, at : p.start], own]
        at = p.stop
    return torch.cat([*parts, g[:, :, at:]], 2)


def _apply_site_factor(g: Tensor, value: Tensor, p: PendingSite, epsilon: float) -> Tensor:
    if p.denominator is not None:
        return apply_recomputed_factor(g, value, p.denominator, epsilon)
    return apply_epsilon_factor(g, value, epsilon, p.zero)
