"""The z+ rule: only positive contributions carry relevance (docs/lrp.md, section 2.11).

Here the pass carries relevance itself, not signals: each affine operation divides by its own
positive part, which the forward pass never computed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.kernels.epsilon import stabilise
from isnet_lrp.ops.activation import Activation, ReLU
from isnet_lrp.ops.norm import BatchNorm, GroupedNorm
from isnet_lrp.ops.pooling import GlobalPool, MaxPool, Pool
from isnet_lrp.ops.product import PRODUCTS
from isnet_lrp.ops.structure import DROPOUTS, FOURIER, ROUTES, Concat, Reshape, Sum
from isnet_lrp.ops.weighted import CONVOLUTIONS, Conv, Linear
from isnet_lrp.record.graph import Graph, Local, Op

# Weighted sums whose z+ rule is not written; the other operations move values, or weigh them one
# by one, or are convolutions in two dimensions and linear layers.
WEIGHTED = CONVOLUTIONS | FOURIER | (PRODUCTS - {"mul", "multiply"}) | {
    "attention", "rmatmul",
}  # fmt: skip


class PositivePass:
    """One pass over the record with relevance.

    Args:
        graph: The record, with the values of affine operations kept.
        epsilon: Stabiliser.
        wanted: Nodes whose relevance is kept.
        stop: Node at which the pass ends.
    """

    def __init__(self, graph: Graph, epsilon: float, wanted: frozenset[int], stop: int) -> None:
        self.graph = graph
        self.epsilon = epsilon
        self.wanted = wanted | {stop}
        self.stop = stop
        self._relevance: dict[int, Tensor] = {}

    def run(self, node: int, logits: Tensor, chosen: Tensor) -> dict[int, Tensor]:
        """Relevance of the wanted nodes [K', *shape].

        Args:
            node: The logits' node.
            logits: [B, K].
            chosen: Which logits each map explains, 0/1 [K', B, K]; it starts with the positive
                part W⁺a + b⁺ of the last layer.
        """
        last = self.graph.maker[node]
        start = logits
        if isinstance(last, Linear) and last.value is not None:
            start = self._positive_part(last, last.weight, _constant(last.bias), last.value)
        self._relevance[node] = chosen * start
        found: dict[int, Tensor] = {}
        end = self.graph.maker[self.stop]
        for op in reversed(self.graph.ops):
            if op is end:
                break
            given = [self._relevance.pop(out, None) for out in op.outs]
            reached = [(s, R) for s, R in zip(op.outs, given, strict=True) if R is not None]
            found |= {node: R for node, R in reached if node in self.wanted}
            if reached:
                self._pass(op, given)
        if self.stop in self._relevance:
            found[self.stop] = self._relevance.pop(self.stop)
        return found

    def _add(self, node: int, R: Tensor) -> None:
        there = self._relevance.get(node)
        self._relevance[node] = R if there is None else there + R

    def _pass(self, op: Op, given: list[Tensor | None]) -> None:
        R = given[0]
        if op.name in ROUTES:
            for node, part in zip(op.ins, op.propagate(given), strict=True):
                if part is not None:
                    self._add(node, part)
            return
        if R is None or len(given) > 1 or op.name in WEIGHTED:
            raise UnsupportedOperation(f"{op.name}: no z+ rule; use family 'flex' or 'block'")
        if isinstance(op, (ReLU, Activation, GroupedNorm)) or op.name in DROPOUTS:
            self._add(op.ins[0], R)
        elif isinstance(op, BatchNorm):
            self._fused(op, R)
        elif isinstance(op, (Conv, Linear)) and op.value is not None:
            bias = _constant(op.bias)
            self._add(op.ins[0], self._affine(op, op.weight, bias, op.value, R))
        elif isinstance(op, (Concat, Reshape)):
            for node, part in zip(op.ins, op.propagate([R]), strict=True):
                if part is not None:
                    self._add(node, part)
        elif isinstance(op, Sum):
            self._sum(op, R)
        else:
            self._proportional(op, R)

    def _sum(self, op: Sum, R: Tensor) -> None:
        if len(op.ins) == 1:  # the other terms are constants, which take nothing
            self._add(op.ins[0], R)
            return
        terms = [(v * s).clamp(min=0) for v, s in zip(op.values, op.sign, strict=True)]
        total = torch.stack(terms).sum(0)
        s = R / stabilise(total, self.epsilon)
        for node, term in zip(op.ins, terms, strict=True):
            self._add(node, term * s)

    def _proportional(self, op: Op, R: Tensor) -> None:
        """Pools and other linear operations without bias: R_j = a_j·(Wᵀ R/stab(z))_j."""
        if isinstance(op, (MaxPool, GlobalPool)):
            inner, value = op.inner, op.value
            assert inner is not None and value is not None  # noqa: S101, PT018 - kept for z+
            signals = op.propagate([R / stabilise(value, self.epsilon)])
            values = [inner]
        elif isinstance(op, Local):
            signals = op.propagate([R / stabilise(op.outputs[0], self.epsilon)])
            values = list(op.inputs)
        else:
            raise UnsupportedOperation(f"{op.name}: no z+ rule; use family 'flex' or 'block'")
        for node, a, g in zip(op.ins, values, signals, strict=True):
            if g is not None:
                self._add(node, a * g)

    def _fused(self, op: BatchNorm, R: Tensor) -> None:
        """BatchNorm together with the convolutions and pools that made its channels (2.2, 2.7)."""
        scale, shift = op.scale(), op.shift()
        assert op.value is not None  # noqa: S101 - kept for z+
        for start, stop, source in self._sources(op.ins[0], op.value.shape[1]):
            part = scale[start:stop]
            bias = shift[start:stop]
            R_part = R[:, :, start:stop]
            if isinstance(source, Conv) and source.value is not None:
                weight = source.weight * part.view(-1, 1, 1, 1)
                if source.bias is not None:
                    bias = bias + source.bias.detach() * part
                found = self._affine(source, weight, bias, source.value, R_part)
                self._add(source.ins[0], found)
            elif isinstance(source, Linear) and source.value is not None:
                weight = source.weight * part.view(-1, 1)
                if source.bias is not None:
                    bias = bias + source.bias.detach() * part
                found = self._affine(source, weight, bias, source.value, R_part)
                self._add(source.ins[0], found)
            elif isinstance(source, (MaxPool, GlobalPool, Pool)):
                self._add(source.ins[0], self._pooled(source, part, bias, R_part))
            else:
                self._channelwise(op, R_part, (start, stop), bias)

    def _pooled(
        self, op: MaxPool | GlobalPool | Pool, scale: Tensor, bias: Tensor, R: Tensor
    ) -> Tensor:
        """A pooling fused with the BatchNorm behind it: its weights are the pool's times scale."""
        value = op.outputs[0] if isinstance(op, Pool) else op.value
        a = op.inputs[0] if isinstance(op, Pool) else op.inner
        assert value is not None and a is not None  # noqa: S101, PT018 - kept for z+
        shape = (-1, *([1] * (value.dim() - 2)))
        up = torch.maximum(scale, torch.zeros_like(scale)).view(shape)
        b = torch.maximum(bias, torch.zeros_like(bias)).view(shape)
        s = R / stabilise(value * up + b, self.epsilon)
        (g,) = op.propagate([up * s])
        assert g is not None  # noqa: S101 - the pooling has a signal
        return a * g

    def _channelwise(
        self, op: BatchNorm, R: Tensor, channels: tuple[int, int], bias: Tensor
    ) -> None:
        assert op.value is not None  # noqa: S101 - kept for z+
        start, stop = channels
        whole = op.value.shape[1]
        x = op.value[:, start:stop]
        shape = (-1, *([1] * (x.dim() - 2)))
        z = (x * op.scale()[start:stop].view(shape)).clamp(min=0)
        none = torch.zeros_like(bias)
        total = z + torch.maximum(bias, none).view(shape)
        found = z * (R / (total + self.epsilon))
        if (start, stop) != (0, whole):
            before = found.new_zeros(*found.shape[:2], start, *found.shape[3:])
            after = found.new_zeros(*found.shape[:2], whole - stop, *found.shape[3:])
            found = torch.cat([before, found, after], 2)
        self._add(op.ins[0], found)

    def _sources(self, node: int, channels: int) -> list[tuple[int, int, Op | None]]:
        """Which operation made which channels of a BatchNorm's input."""
        op = self.graph.maker[node]
        if not isinstance(op, Concat) or op.axis != 1 or len(op.live) != len(op.sizes):
            return [(0, channels, op)]
        found: list[tuple[int, int, Op | None]] = []
        at = 0
        for part, size in zip(op.ins, op.sizes, strict=True):
            found += [(at + a, at + b, o) for a, b, o in self._sources(part, size)]
            at += size
        return found

    def _affine(
        self, op: Conv | Linear, weight: Tensor, bias: Tensor | None, a: Tensor, R: Tensor
    ) -> Tensor:
        s = R / stabilise(self._positive_part(op, weight, bias, a), self.epsilon)
        zero = torch.zeros_like(weight)
        up = _transpose(op, torch.maximum(weight, zero), s)
        if self._plain(op):
            return a * up
        down = _transpose(op, torch.minimum(weight, zero), s)
        return a.clamp(min=0) * up + a.clamp(max=0) * down

    def _positive_part(
        self, op: Conv | Linear, weight: Tensor, bias: Tensor | None, a: Tensor
    ) -> Tensor:
        """W⁺a + b⁺; for convolutions of signed inputs AB(1, 0): a⁺W⁺ + a⁻W⁻ + b⁺."""
        zero = torch.zeros_like(weight)
        b = None if bias is None else torch.maximum(bias, torch.zeros_like(bias))
        if self._plain(op):
            return _forward(op, torch.maximum(weight, zero), b, a)
        z = _forward(op, torch.maximum(weight, zero), b, a.clamp(min=0))
        return z + _forward(op, torch.minimum(weight, zero), None, a.clamp(max=0))

    def _plain(self, op: Conv | Linear) -> bool:
        return isinstance(op, Linear) or self._nonnegative(op.ins[0])

    def _nonnegative(self, node: int) -> bool:
        op = self.graph.maker[node]
        if isinstance(op, ReLU):
            return True
        keeps = isinstance(op, (MaxPool, GlobalPool, Pool, Reshape, Concat, Sum))
        if op is None or not (keeps or op.name in DROPOUTS):
            return False
        if isinstance(op, Sum) and any(s < 0 for s in op.sign):
            return False
        return all(self._nonnegative(part) for part in op.ins)


def _constant(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


def _forward(op: Conv | Linear, weight: Tensor, bias: Tensor | None, a: Tensor) -> Tensor:
    if isinstance(op, Conv):
        return op.options.apply(a, weight, bias)
    return F.linear(a, weight, bias)


def _transpose(op: Conv | Linear, weight: Tensor, s: Tensor) -> Tensor:
    if isinstance(op, Linear):
        return F.linear(s, weight.t())
    found = op.options.transpose(s.flatten(0, 1), weight, op.size)
    return found.view(*s.shape[:2], *found.shape[1:])
