"""The relevance pass: the record walked backwards, from the logits to the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from isnet_models.lrp.affine import BatchNorm, Conv
from isnet_models.lrp.graph import Graph
from isnet_models.lrp.sites import damp_sites


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
        self._scale: dict[int, Tensor] = {}

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
            signals = [self._take(out, found) for out in op.outs]
            if all(g is None for g in signals):
                continue
            if isinstance(op, BatchNorm) and self._fold(op, signals[0]):
                continue
            if isinstance(op, Conv) and signals[0] is not None:
                passed = [op.carry(signals[0], self._scale.pop(op.outs[0], None))]
            else:
                passed = list(op.signal(signals))
            for position, (target, g) in enumerate(zip(op.ins, passed, strict=True)):
                if g is not None:
                    damped = (index, position) in graph.damped
                    self._add(self._damped if damped else self._plain, target, g)
        self._take(self.stop, found)
        return found

    def _take(self, slot: int, found: dict[int, Tensor]) -> Tensor | None:
        plain, damped = self._plain.pop(slot, None), self._damped.pop(slot, None)
        if slot in self.wanted:
            whole = plain if damped is None else damped if plain is None else plain + damped
            if whole is not None:
                found[slot] = whole
        if damped is None:
            return plain
        damped = damp_sites(
            damped, self.graph.sites[slot], self.graph.pending[slot], self.epsilon
        )
        return damped if plain is None else plain + damped

    def _fold(self, op: BatchNorm, g: Tensor | None) -> bool:
        """Hands a BatchNorm's scale to the convolution before it, if nothing else reads that."""
        source = op.ins[0]
        if g is None or op.through is not None or source in self.wanted or self.graph.uses[source] != 1:
            return False
        if not isinstance(self.graph.maker[source], Conv):
            return False
        self._scale[source] = op.scale().to(g.dtype)
        self._add(self._plain, source, g)
        return True

    @staticmethod
    def _add(where: dict[int, Tensor], slot: int, g: Tensor) -> None:
        there = where.get(slot)
        where[slot] = g if there is None else there + g


def clean(g: Tensor) -> Tensor:
    """NaN becomes 0 and infinities the largest finite numbers (LRP_SPEC 3.2)."""
    return torch.nan_to_num(g)
