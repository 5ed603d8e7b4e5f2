"""The relevance pass: the record walked backwards, from the logits to the pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from isnet_lrp.families.epsilon_sites import damp_sites
from isnet_lrp.kernels.fused import Gate, Held
from isnet_lrp.ops.activation import Rectifier
from isnet_lrp.ops.affine import BatchNorm, Conv
from isnet_lrp.ops.structure import Concat
from isnet_lrp.record.graph import Graph, Op
from isnet_lrp.record.tracing import traced


class Walk:
    """One pass over the record with signals (LRP-Flex and LRP Block).

    Args:
        graph: The record.
        epsilon: Stabiliser of LRP Block's sites.
        wanted: Slots whose signals are kept.
        stop: Slot at which the pass ends; what was recorded before it is not visited.
    """

    def __init__(self, graph: Graph, epsilon: float, wanted: frozenset[int], stop: int) -> None:
        self.graph = graph
        self.epsilon = epsilon
        self.wanted = wanted | {stop}
        self.stop = stop
        self._plain: dict[int, Tensor] = {}
        self._damped: dict[int, Tensor] = {}
        self._held: dict[int, Held] = {}
        self._scaled: set[int] = set()  # outputs of BatchNorms whose scale was applied before

    def run(self, slot: int, seed: Tensor) -> dict[int, Tensor]:
        """Signals of the wanted slots [K, *shape], before any damping at the slot itself.

        Args:
            slot: Where the pass starts (the logits).
            seed: Signal there [K, B, classes].
        """
        found: dict[int, Tensor] = {}
        self._plain[slot] = seed
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
                    self._pass(index, enumerate(zip(op.ins, op.signal(signals), strict=True)))
                    continue
                held = Held(signals[0])
            self._step(index, op, held)
        self._take(self.stop, found)
        return found

    def _step(self, index: int, op: Op, held: Held) -> None:
        """Takes a signal through an operation with one output."""
        factor = self._factor(op, held)
        if factor is not None and self._waits(index, op):
            self._held[op.ins[0]] = factor
        elif factor is not None:
            self._pass(index, [(0, (op.ins[0], factor.whole()))])
        elif isinstance(op, Conv):
            norm = self._ahead(op, held.g)
            if norm is not None:
                self._scaled.add(norm.outs[0])
            scale = None if norm is None else norm.scale()
            passed = held.carried(op.weight, op.options, op.size, scale)
            self._pass(index, [(0, (op.ins[0], passed))])
        elif isinstance(op, Concat):
            self._pass(index, enumerate(op.shares(held.whole(), self.wanted)))
        else:
            passed_on = op.signal([held.whole()])
            self._pass(index, enumerate(zip(op.ins, passed_on, strict=True)))

    def _factor(self, op: Op, held: Held) -> Held | None:
        """The signal behind an operation that only multiplies it, the product not yet taken."""
        if isinstance(op, Rectifier) and op.denominator is None:
            return Held(held.whole(), Gate(op.value, op.epsilon, op.zero))
        if isinstance(op, BatchNorm) and op.through is None:
            if op.outs[0] in self._scaled:
                return held
            if held.scale is not None:
                held = Held(held.whole())
            return Held(held.g, held.gate, op.scale())
        return None

    def _ahead(self, conv: Conv, g: Tensor) -> BatchNorm | None:
        """The BatchNorm of BatchNorm -> ReLU -> convolution, if its scale is better taken now.

        Its scale commutes with the ReLU's factor, so the convolution's weights can take it, which
        are fewer numbers than the signal of its input.
        """
        relu = self.graph.maker[conv.ins[0]]
        if not (isinstance(relu, Rectifier) and relu.denominator is None):
            return None
        norm = self.graph.maker[relu.ins[0]]
        if not (isinstance(norm, BatchNorm) and norm.through is None):
            return None
        alone = all(
            self.graph.uses[slot] == 1 and slot not in self.wanted and slot not in self.graph.sites
            for slot in (conv.ins[0], relu.ins[0])
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
            and (index, 0) not in self.graph.damped
            and isinstance(self.graph.maker[source], (Conv, BatchNorm))
        )

    def _pass(self, index: int, shares: Iterable[tuple[int, tuple[int, Tensor | None]]]) -> None:
        """Adds signals to the inputs of an operation: (position, (slot, signal))."""
        for position, (slot, g) in shares:
            if g is not None:
                damped = (index, position) in self.graph.damped
                where = self._damped if damped else self._plain
                there = where.get(slot)
                where[slot] = g if there is None else there + g

    def _take(self, slot: int, found: dict[int, Tensor]) -> Tensor | None:
        plain, damped = self._plain.pop(slot, None), self._damped.pop(slot, None)
        if slot in self.wanted:
            whole = plain if damped is None else damped if plain is None else plain + damped
            if whole is not None:
                found[slot] = whole
        if damped is None:
            return plain
        damped = damp_sites(damped, self.graph.sites[slot], self.graph.pending[slot], self.epsilon)
        return damped if plain is None else plain + damped


def clean(g: Tensor) -> Tensor:
    """NaN becomes 0 and infinities the largest finite numbers (LRP_SPEC 3.2)."""
    if g.device.type == "cpu" and not traced() and math.isfinite(g.detach().sum()):
        return g  # the usual case in one pass; elsewhere the host would wait for the device
    return torch.nan_to_num(g)
