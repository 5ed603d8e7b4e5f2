"""The record, rewritten before a backward pass.

`fuse_signals` joins ReLU, BatchNorm and convolution for speed: the sums are those of the plain
pass. `merge_norms` makes one affine map of BatchNorm and what made its channels, which rules that
divide by an affine map's output take as a whole (docs/lrp.md, sections 2.2, 2.7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from isnet_lrp.kernels.fused import Gate, HeldSignal
from isnet_lrp.ops.structure import Concat
from isnet_lrp.ops.weighted import Conv, Scaled, Weighted
from isnet_lrp.record.graph import Graph, Op, Signals

if TYPE_CHECKING:
    from isnet_lrp.ops.activation import ReLU
    from isnet_lrp.ops.norm import BatchNorm


@dataclass(eq=False)
class Fused(Op):
    """ReLU, BatchNorm and convolution as one step; what is None is left out.

    Attributes:
        gate: The ReLU, last in the network.
        norm: The BatchNorm before it.
        conv: The convolution before that.
        ahead: A BatchNorm whose scale commutes with what is between: the convolution takes it.
    """

    gate: ReLU | None = None
    norm: BatchNorm | None = None
    conv: Conv | None = None
    ahead: BatchNorm | None = None

    def propagate(self, signals: Signals) -> Signals:
        """scale·Wᵀ(scale·t/(t + epsilon)·g)."""
        (g,) = signals
        if g is None:
            return [None]
        r, conv = self.gate, self.conv
        gate = None if r is None else Gate(r.value, r.epsilon, r.zero)
        held = HeldSignal(g, gate, None if self.norm is None else self.norm.scale())
        if conv is None:
            return [held.multiply_out()]
        ahead = None if self.ahead is None else self.ahead.scale()
        return [held.carry_through(conv.weight, conv.options, conv.size, ahead)]


def fuse_signals(
    graph: Graph,
    ops: Sequence[Op],
    kept: frozenset[int],
    maps: int,
    has_rule: Callable[[Op], object],
) -> list[Op]:
    """Joins what a signal can be carried through in one step.

    Args:
        graph: The record.
        ops: Its operations that the pass goes through, in order.
        kept: Nodes whose signals are asked for.
        maps: Number of maps of the pass.
        has_rule: Whether an operation has a rule of its own in the family, and is left alone.
    """
    found: list[Op] = []  # from the last to the first
    waiting: dict[int, Fused] = {}
    taken: set[Op] = set()  # BatchNorms whose scale a convolution behind them takes

    def alone(node: int) -> bool:
        return graph.uses[node] == 1 and node not in kept

    def part(node: int) -> Op | None:
        op = graph.maker[node]
        return None if op is None or has_rule(op) else op

    def find_ahead(conv: Conv) -> BatchNorm | None:
        """The BatchNorm of BatchNorm -> ReLU -> convolution, if its scale is better taken now.

        Its scale commutes with the ReLU's factor, so the convolution's weights can take it, which
        are fewer numbers than the signal of its input.
        """
        relu = part(conv.ins[0])
        if relu is None or relu.fuses != "gate" or not alone(conv.ins[0]):
            return None
        norm = part(relu.ins[0])
        if norm is None or norm.fuses != "scale" or not alone(relu.ins[0]):
            return None
        B = cast("ReLU", relu).value.shape[0]
        signal = maps * B * conv.weight.shape[1] * conv.size[0] * conv.size[1]
        few = 2 * conv.weight.numel() <= signal
        return cast("BatchNorm", norm) if few and conv.options.groups == 1 else None

    for op in reversed(ops):
        held = waiting.pop(op.outs[0], None)
        fuses = "" if has_rule(op) else op.fuses
        if held is not None and (not fuses or (fuses == "scale" and held.norm is not None)):
            found.append(held)
            held = None
        if not fuses:
            found.append(op.shorten(kept))
            continue
        step = held or Fused(op.name, op.ins, op.outs)
        step.ins = op.ins
        if fuses == "carry":
            step.conv = cast("Conv", op)
            step.ahead = find_ahead(step.conv)
            taken |= {step.ahead} if step.ahead is not None else set()
            found.append(step)
            continue
        if fuses == "gate":
            step.gate = cast("ReLU", op)
        elif op not in taken:
            step.norm = cast("BatchNorm", op)
        before = part(op.ins[0])
        if before is not None and before.fuses in ("carry", "scale") and alone(op.ins[0]):
            waiting[op.ins[0]] = step
        else:
            found.append(step)
    found.reverse()
    return found


def merge_norms(graph: Graph, ops: Sequence[Op], constant: bool) -> list[Op]:
    """Takes BatchNorms into the convolutions, linear layers and pools that made their channels.

    Args:
        graph: The record; fresh nodes are added to it.
        ops: Its operations that the pass goes through, in order.
        constant: Whether biases are constants.
    """
    found: list[Op] = []
    for op in ops:
        if op.weighs:
            plain = cast("Weighted", op).prepare(
                None, None, constant=constant, positive=graph.nonnegative(op.ins[0])
            )
            plain.ins, plain.outs = op.ins, op.outs
            found.append(plain)
        elif op.merges_sites:
            found += _merge(graph, cast("BatchNorm", op), constant)
        else:
            found.append(op)
    return found


def _merge(graph: Graph, norm: BatchNorm, constant: bool) -> list[Op]:
    """One BatchNorm: a map for each operation that made some of its channels."""
    x = norm.value
    assert x is not None  # noqa: S101 - kept for families that carry relevance
    makers = find_makers(graph, norm.ins[0], x.shape[1])
    if not any(maker is not None and (maker.weighs or maker.pools) for _, _, _, maker in makers):
        makers = [(0, x.shape[1], norm.ins[0], None)]
    scale, shift = norm.scale(), norm.shift(constant=constant)
    ops: list[Op] = []
    for start, stop, node, maker in makers:
        own, term = scale[start:stop], shift[start:stop]
        positive = graph.nonnegative(node if maker is None else maker.ins[0])
        if maker is not None and maker.weighs:
            op = cast("Weighted", maker).prepare(own, term, constant=constant, positive=positive)
            op.ins = maker.ins
        elif maker is not None and maker.pools:
            value = maker.kept()[0][0]
            op = Scaled(norm.name, maker.ins, (), own, term, value, positive=True, pool=maker)
        else:
            value = x if len(makers) == 1 else x[:, start:stop]
            op = Scaled(norm.name, (node,), (), own, term, value, positive=positive)
        op.outs = norm.outs if len(makers) == 1 else (graph.add_node(),)
        ops.append(op)
    if len(ops) > 1:
        sizes = tuple(stop - start for start, stop, _, _ in makers)
        parts = tuple(op.outs[0] for op in ops)
        live = tuple(range(len(ops)))
        ops.append(Concat(norm.name, parts, norm.outs, axis=1, sizes=sizes, live=live))
    return ops


def find_makers(graph: Graph, node: int, channels: int) -> list[tuple[int, int, int, Op | None]]:
    """Which operation made which channels of a node: (start, stop, node, operation)."""
    op = graph.maker[node]
    join: Any = op
    if op is None or not op.joined() or len(join.live) != len(join.sizes):
        return [(0, channels, node, op)]
    found: list[tuple[int, int, int, Op | None]] = []
    at = 0
    for part, size in zip(op.ins, join.sizes, strict=True):
        found += [(at + a, at + b, n, o) for a, b, n, o in find_makers(graph, part, size)]
        at += size
    return found
