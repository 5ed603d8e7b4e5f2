"""The backward pass of relevance: through the record from the logits to the pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from isnet_lrp.family import Family
from isnet_lrp.record.graph import Graph, Op
from isnet_lrp.record.tracing import is_tracing
from isnet_lrp.rewrite import fuse_signals, merge_norms


@dataclass
class BackwardPass:
    """One pass over the record with signals, or with relevance itself.

    Attributes:
        graph: The record.
        family: Its rules, and what the pass carries.
        epsilon: Stabiliser of rules that have none of their own.
        wanted: Nodes whose signals are kept.
        stop: Node at which the pass ends; what was recorded before it is not visited.
        masks: Factors of nodes' signals [.., C, ..], which restrict the pass.
        fused: Whether operations are joined before the pass, for speed. The sums are the same.
    """

    graph: Graph
    family: Family
    epsilon: float
    wanted: frozenset[int] = frozenset()
    stop: int = 0
    masks: Mapping[int, Tensor] = field(default_factory=dict)
    fused: bool = True

    def run(self, node: int, seed: Tensor) -> dict[int, Tensor]:
        """Signals of the wanted nodes [K, *shape], before any epsilon factor at the node itself.

        Args:
            node: Where the pass starts (the logits).
            seed: Signal there [K, B, classes].
        """
        kept = frozenset({*self.wanted, *self.masks, self.stop})
        there, found = {node: seed}, dict[int, Tensor]()
        mixed = {node: site for node, site in self.graph.sites.items() if node in kept}
        behind = {site: node for node, site in mixed.items()}
        for op in reversed(self.ops(kept, len(seed))):
            signals = [there.pop(out, None) for out in op.outs]
            if all(g is None for g in signals):
                continue
            for out, g in zip(op.outs, signals, strict=True):
                if g is not None and out in kept and out not in mixed:
                    found[out] = g
            if self.masks:
                signals = [self._mask(out, g) for out, g in zip(op.outs, signals, strict=True)]
            raw = behind.get(op.outs[0])  # a wanted node's site: its factor does not count
            for source, g in zip(op.ins, self._apply(op, signals), strict=True):
                if g is not None:
                    _add(there, source, g)
                    if source in mixed:
                        before = signals[0] if raw is not None else g
                        _add(found, source, g if before is None else before)
        if self.stop in there and self.stop not in mixed:
            found[self.stop] = there[self.stop]
        return {n: self._mask(n, g) for n, g in found.items()} if self.masks else found

    def ops(self, kept: frozenset[int], maps: int) -> list[Op]:
        """What the pass goes through: the record behind the stop, as the family rewrites it."""
        end = self.graph.maker[self.stop]
        first = 0 if end is None else self.graph.ops.index(end) + 1
        ops = self.graph.ops[first:]
        if self.family.carries == "relevance":
            return merge_norms(self.graph, ops, self.family.constant_biases)
        if not self.fused:
            return ops
        return fuse_signals(self.graph, ops, kept, maps, self.family.find_rule)

    def _apply(self, op: Op, signals: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        rule = self.family.find_rule(op)
        if rule is not None:
            return rule(op, signals, self.epsilon)
        if self.family.carries == "signals":
            return op.propagate(signals)
        return op.share(signals, self.epsilon)

    def _mask(self, node: int, g: Any) -> Any:
        mask = self.masks.get(node)
        return g if g is None or mask is None else g * mask.to(g.dtype)


def _add(there: dict[int, Tensor], node: int, g: Tensor) -> None:
    before = there.get(node)
    there[node] = g if before is None else before + g


def replace_nonfinite(g: Tensor) -> Tensor:
    """NaN becomes 0 and infinities the largest finite numbers (docs/lrp.md, section 3.2)."""
    if g.device.type == "cpu" and not is_tracing() and math.isfinite(g.detach().sum()):
        return g  # the usual case in one pass; elsewhere the host would wait for the device
    return torch.nan_to_num(g)
