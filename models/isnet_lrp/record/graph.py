"""The record of one forward pass: which operation made which tensor from which.

Only tensors that depend on the image are recorded; each has a number, its node. The backward pass
goes through the record from its end with ordinary differentiable operations, so the second
derivative needed for training is torch's own and nothing has to be switched on or off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Signals = Sequence["Tensor | None"]


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
    pool: bool
    zero: Tensor | None = None
    denominator: Tensor | None = None


@dataclass(eq=False)
class Op:
    """One recorded operation.

    Attributes:
        name: Name of the operation, for messages.
        ins: Nodes of the inputs that depend on the image.
        outs: Nodes of the outputs.
    """

    name: str
    ins: tuple[int, ...]
    outs: tuple[int, ...] = ()

    def propagate(self, signals: Signals) -> Signals:
        """Signals of the inputs from those of the outputs.

        A signal is relevance divided by the activation it belongs to; for linear operations it
        travels like a gradient.

        Args:
            signals: One [K, *output.shape] per output; None where an output has none.

        Returns:
            One [K, *input.shape] per input; None where an input gets none.
        """
        raise NotImplementedError


@dataclass
class Graph:
    """All operations of one forward pass in order.

    Attributes:
        ops: The operations.
        maker: Operation that made each node; None for the image (node 0).
        uses: Number of operations that read each node.
        pending: For LRP Block: channels of each node that become epsilon sites where they are read.
        epsilon_sites: For LRP Block: value of each node that is a site where it is read.
        site_reads: For LRP Block: (operation's index, input's position) that read an epsilon site.
        joins: Node of each concatenation along channels, by the nodes of its parts.
    """

    ops: list[Op] = field(default_factory=list)
    maker: list[Op | None] = field(default_factory=lambda: [None])
    uses: list[int] = field(default_factory=lambda: [0])
    pending: dict[int, tuple[PendingSite, ...]] = field(default_factory=dict)
    epsilon_sites: dict[int, Tensor] = field(default_factory=dict)
    site_reads: set[tuple[int, int]] = field(default_factory=set)
    joins: dict[tuple[int, ...], int] = field(default_factory=dict)

    def add_node(self) -> int:
        """A fresh node."""
        self.maker.append(None)
        self.uses.append(0)
        return len(self.maker) - 1

    def add(self, op: Op) -> None:
        """Appends an operation whose nodes are set."""
        self.ops.append(op)
        for node in op.ins:
            self.uses[node] += 1
        for node in op.outs:
            self.maker[node] = op

    def join(self, parts: tuple[int, ...], whole: int) -> tuple[int, int] | None:
        """Takes note of a concatenation and finds the longest one that it begins with.

        Args:
            parts: Nodes of its inputs.
            whole: Node of its output.

        Returns:
            (node, number of parts) of that earlier concatenation, or None.
        """
        found = None
        for n in range(len(parts) - 1, 0, -1):
            if parts[:n] in self.joins:
                found = self.joins[parts[:n]], n
                break
        self.joins[parts] = whole
        return found


@dataclass(eq=False)
class Local(Op):
    """Any other operation whose own vector-Jacobian product is its rule (linear, or homogeneous).

    Attributes:
        inputs: The input tensors, as autograd knows them.
        outputs: The output tensors.
        share: Part of the product that each input gets (products of several inputs).
    """

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    share: float = 1.0

    def propagate(self, signals: Signals) -> Signals:
        """The operation's own vector-Jacobian product, one per map."""
        present = [(y, g) for y, g in zip(self.outputs, signals, strict=True) if g is not None]
        differentiable = torch.is_grad_enabled()
        outputs = [y for y, _ in present]
        with torch.enable_grad():
            found = [
                torch.autograd.grad(
                    outputs, self.inputs, [g[k].to(y.dtype) for y, g in present],
                    create_graph=differentiable, retain_graph=True, allow_unused=True,
                )
                for k in range(present[0][1].shape[0])
            ]  # fmt: skip
        half = present[0][1].dtype.to_real()
        stacked = [_stack([row[i] for row in found]) for i in range(len(self.inputs))]
        stacked = [g if g is None or g.is_complex() else g.to(half) for g in stacked]
        if self.share == 1:
            return stacked
        return [None if g is None else g * self.share for g in stacked]


def _stack(rows: list[Tensor | None]) -> Tensor | None:
    present = [row for row in rows if row is not None]
    if not present:
        return None
    return present[0].unsqueeze(0) if len(rows) == 1 else torch.stack(present)
