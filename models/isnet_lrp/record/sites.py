"""The epsilon sites of LRP Block, found while the network runs (docs/lrp.md, section 2.13).

Every affine operation's output is a site where it is read, unless the reader takes it into its
own formula: BatchNorm (fused with the convolution before it, also through a pooling) and ReLU
(has an epsilon factor of its own). Through a concatenation the readers behind it decide. This gives
exactly the list of docs/lrp.md, section 2.13, for sequential networks, VGG, ResNet and DenseNet,
without names. In the record a site is an operation of its own between a node and its readers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isnet_lrp.kernels.epsilon import apply_epsilon_factor, apply_recomputed_factor
from isnet_lrp.record.graph import Graph, Op, Signals


@dataclass(frozen=True)
class PendingSite:
    """Channels start <= c < stop of a node that an affine operation made: an epsilon site to come.

    Attributes:
        start: First channel.
        stop: Channel after the last.
        pool: Whether a pooling made it (then it has no bias).
        zero: A tensor [stop - start] of value 0 whose gradient takes the biases' part out of the
            derivative of the stabilised denominator (docs/lrp.md, section 2.12), or None.
        denominator: A recomputed pre-activation to divide by instead of the node's own value
            (`full_batch_norm`), or None.
    """

    start: int
    stop: int
    pool: bool = False
    zero: Tensor | None = None
    denominator: Tensor | None = None

    def behind(self, channels: int) -> PendingSite:
        """The same site behind so many other channels."""
        return replace(self, start=self.start + channels, stop=self.stop + channels)


Sites = tuple[PendingSite, ...]


@dataclass(eq=False)
class Site(Op):
    """An epsilon site: the same values, whose readers' signals get the epsilon factor.

    Attributes:
        value: The values.
        pending: The channels that are a site.
        epsilon: Stabiliser.
    """

    value: Tensor = None  # type: ignore[assignment]
    pending: Sites = ()
    epsilon: float = 0.0
    routes = True

    def propagate(self, signals: Signals) -> Signals:
        """g·t/(t + epsilon·sgn t)."""
        (g,) = signals
        return [None if g is None else self._apply(g)]

    def share(self, relevance: Signals, epsilon: float) -> Signals:
        """The relevance itself: another family's sites are none of this one's."""
        return relevance

    def _apply(self, g: Tensor) -> Tensor:
        value, first = self.value, self.pending[0]
        whole = value.dim() < 2 or first.stop - first.start == value.shape[1]
        if len(self.pending) == 1 and whole:
            return self._apply_one(g, value, first)
        parts, at = [], 0
        for p in self.pending:
            inner = slice(p.start, p.stop)
            own = self._apply_one(g[:, :, inner], value[:, inner], p)
            parts += [g[:, :, at : p.start], own]
            at = p.stop
        return torch.cat([*parts, g[:, :, at:]], 2)

    def _apply_one(self, g: Tensor, value: Tensor, p: PendingSite) -> Tensor:
        if p.denominator is not None:
            return apply_recomputed_factor(g, value, p.denominator, self.epsilon)
        return apply_epsilon_factor(g, value, self.epsilon, p.zero)


class EpsilonSites:
    """Follows the affine outputs of one forward pass that have no epsilon factor yet.

    Args:
        graph: The record, into which it puts the sites.
        epsilon: Stabiliser.

    Attributes:
        pending: Channels of each node that become sites where they are read.
        before: Node before each site's.
    """

    def __init__(self, graph: Graph, epsilon: float) -> None:
        self.graph = graph
        self.epsilon = epsilon
        self.pending: dict[int, Sites] = {}
        self.before: dict[int, int] = {}
        self._merging: dict[int, tuple[Op, int]] = {}  # pool of a site's node, by its own node

    def read(self, op: Op, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Sites:
        """Lets an operation without output nodes read sites, and finds those that it makes."""
        made = op.make_sites([self.pending.get(n, ()) for n in op.ins], inputs, outputs)
        for position, (node, tensor) in enumerate(zip(op.ins, inputs, strict=True)):
            pending = self.pending.get(node)
            if op.merges_sites:
                self._merge(node)
            if pending and not op.takes_in_sites():
                site = self.graph.sites.get(node)
                if site is None:
                    site = self._add(node, tensor, pending)
                op.ins = (*op.ins[:position], site, *op.ins[position + 1 :])
        return made

    def write(self, op: Op, made: Sites) -> None:
        """Takes note of what an operation made."""
        if made:
            self.pending[op.outs[0]] = made
        before = self.before.get(op.ins[0]) if op.pools else None
        if before is not None and not any(p.pool for p in self.pending[before]):
            self._merging[op.outs[0]] = op, before

    def _add(self, node: int, value: Tensor, pending: Sites) -> int:
        behind = self.graph.add_node()
        op = Site("epsilon site", (node,), (behind,), value=value, pending=pending)
        op.epsilon = self.epsilon
        self.graph.add(op)
        self.graph.sites[node], self.before[behind] = behind, node
        return behind

    def _merge(self, node: int) -> None:
        """A BatchNorm reads a pooled convolution: the three are one affine map, without a site."""
        if node in self._merging:
            pool, before = self._merging.pop(node)
            self.graph.read_instead(pool, 0, before)
        maker = self.graph.maker[node]
        for part in maker.joined() if maker is not None else ():
            self._merge(part)


def gather_zeros(pending: Sites, channels: int) -> Tensor | None:
    """The corrections of all channels [C], or None where no channel has one."""
    given = [(p.start, p.stop, p.zero) for p in pending if p.zero is not None]
    if not given:
        return None
    if len(given) == 1 and given[0][1] - given[0][0] == channels:
        return given[0][2]
    parts, at = [], 0
    for start, stop, zero in given:
        parts += [zero.new_zeros(start - at), zero]
        at = stop
    return torch.cat([*parts, parts[-1].new_zeros(channels - at)])


def gather_denominators(pending: Sites, value: Tensor, zero: Tensor | None) -> Tensor | None:
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


def count_channels(value: Tensor) -> int:
    """Length of a value's second axis, or 0."""
    return value.shape[1] if value.dim() > 1 else 0
