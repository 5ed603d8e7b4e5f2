"""The backward pass of relevance: through the record from the logits to the pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from isnet_lrp.families.epsilon_sites import apply_site_factors
from isnet_lrp.kernels.fused import Gate, HeldSignal
from isnet_lrp.ops.activation import ReLU
from isnet_lrp.ops.norm import BatchNorm
from isnet_lrp.ops.structure import Concat
from isnet_lrp.ops.weighted import Conv
from isnet_lrp.record.graph import Graph, Op
from isnet_lrp.record.tracing import is_tracing


class BackwardPass:
    """One pass over the record with signals (LRP-Flex and LRP Block).

    Args:
        graph: The record.
        epsilon: Stabiliser of LRP Block's epsilon sites.
        wanted: Nodes whose signals are kept.
        stop: Node at which the pass ends; what was recorded before it is not visited.
    """

    def __init__(self, graph: Graph, epsilon: float, wanted: frozenset[int], stop: int) -> None:
        self.graph = graph
        self.epsilon = epsilon
        self.wanted = wanted | {stop}
        self.stop = stop
        self._plain: dict[int, Tensor] = {}
        self._at_sites: dict[int, Tensor] = {}
        self._held: dict[int, HeldSignal] = {}
        self._scaled: set[int] = set()  # outputs of BatchNorms whose scale was applied before

    def run(self, node: int, seed: Tensor) -> dict[int, Tensor]:
        """Signals of the wanted nodes [K, *shape], before any epsilon factor at the node itself.

        Args:
            node: Where the pass starts (the logits).
            seed: Signal there [K, B, classes].
        """
        found: dict[int, Tensor] = {}
        self._plain[node] = seed
        graph = self.graph
        end = graph.maker[self.stop]
        for index in range(len(graph.ops) - 1, -1, -1):
            op = graph.ops[index]
            if op is end:
                break
            held = self._held.pop(op.outs[0], None)
            if held is None:
                signals = [self._take(out, found) for out in op.outs]
                if all(g is None for g in signals):
                    continue
                if len(signals) > 1 or signals[0] is None:
                    self._pass(index, enumerate(zip(op.ins, op.propagate(signals), strict=True)))
                    continue
                held = HeldSignal(signals[0])
            self._step(index, op, held)
        self._take(self.stop, found)
        return found

    def _step(self, index: int, op: Op, held: HeldSignal) -> None:
        """Takes a signal through an operation with one output."""
        factor = self._factor(op, held)
        if factor is not None and self._waits(index, op):
            self._held[op.ins[0]] = factor
        elif factor is not None:
            self._pass(index, [(0, (op.ins[0], factor.multiply_out()))])
        elif isinstance(op, Conv):
            norm = self._ahead(op, held.g)
            if norm is not None:
                self._scaled.add(norm.outs[0])
            scale = None if norm is None else norm.scale()
            passed = held.carry_through(op.weight, op.options, op.size, scale)
            self._pass(index, [(0, (op.ins[0], passed))])
        elif isinstance(op, Concat):
            self._pass(index, enumerate(op.share_signal(held.multiply_out(), self.wanted)))
        else:
            passed_on = op.propagate([held.multiply_out()])
            self._pass(index, enumerate(zip(op.ins, passed_on, strict=True)))

    def _factor(self, op: Op, held: HeldSignal) -> HeldSignal | None:
        """The signal behind an operation that only multiplies it, the product not yet taken."""
        if isinstance(op, ReLU) and op.denominator is None:
            return HeldSignal(held.multiply_out(), Gate(op.value, op.epsilon, op.zero))
        if isinstance(op, BatchNorm) and op.through is None:
            if op.outs[0] in self._scaled:
                return held
            if held.scale is not None:
                held = HeldSignal(held.multiply_out())
            return HeldSignal(held.g, held.gate, op.scale())
        return None

    def _ahead(self, conv: Conv, g: Tensor) -> BatchNorm | None:
        """The BatchNorm of BatchNorm -> ReLU -> convolution, if its scale is better taken now.

        Its scale commutes with the ReLU's factor, so the convolution's weights can take it, which
        are fewer numbers than the signal of its input.
        """
        relu = self.graph.maker[conv.ins[0]]
        if not (isinstance(relu, ReLU) and relu.denominator is None):
            return None
        norm = self.graph.maker[relu.ins[0]]
        if not (isinstance(norm, BatchNorm) and norm.through is None):
            return None
        alone = all(
            self.graph.uses[node] == 1
            and node not in self.wanted
            and node not in self.graph.epsilon_sites
            for node in (conv.ins[0], relu.ins[0])
        )
        signal = g.shape[0] * g.shape[1] * conv.weight.shape[1] * conv.size[0] * conv.size[1]
        few = 2 * conv.weight.numel() <= signal
        return norm if alone and few and conv.options.groups == 1 else None

    def _waits(self, index: int, op: Op) -> bool:
        """Whether the operation's input gets no other signal and can take one with factors."""
        source = op.ins[0]
        return (
            self.graph.uses[source] == 1
            and source not in self.wanted
            and (index, 0) not in self.graph.site_reads
            and isinstance(self.graph.maker[source], (Conv, BatchNorm))
        )

    def _pass(self, index: int, shares: Iterable[tuple[int, tuple[int, Tensor | None]]]) -> None:
        """Adds signals to the inputs of an operation: (position, (node, signal))."""
        for position, (node, g) in shares:
            if g is not None:
                at_site = (index, position) in self.graph.site_reads
                where = self._at_sites if at_site else self._plain
                there = where.get(node)
                where[node] = g if there is None else there + g

    def _take(self, node: int, found: dict[int, Tensor]) -> Tensor | None:
        plain, at_site = self._plain.pop(node, None), self._at_sites.pop(node, None)
        if node in self.wanted:
            whole = plain if at_site is None else at_site if plain is None else plain + at_site
            if whole is not None:
                found[node] = whole
        if at_site is None:
            return plain
        at_site = apply_site_factors(
            at_site, self.graph.epsilon_sites[node], self.graph.pending[node], self.epsilon
        )
        return at_site if plain is None else plain + at_site


def replace_nonfinite(g: Tensor) -> Tensor:
    """NaN becomes 0 and infinities the largest finite numbers (docs/lrp.md, section 3.2)."""
    if g.device.type == "cpu" and not is_tracing() and math.isfinite(g.detach().sum()):
        return g  # the usual case in one pass; elsewhere the host would wait for the device
    return torch.nan_to_num(g)
