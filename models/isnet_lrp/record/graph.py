"""The record of one forward pass: which operation made which tensor from which.

Only tensors that depend on the image are recorded; each has a number, its node. The backward pass
goes through the record from its end with ordinary differentiable operations, so the second
derivative needed for training is torch's own and nothing has to be switched on or off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.kernels.epsilon import stabilise

if TYPE_CHECKING:
    from isnet_lrp.record.sites import Sites

Signals = Sequence["Tensor | None"]


class Place(IntEnum):
    """Where an operation may stand in the network's first layer, which is one chain."""

    ELSEWHERE = 0
    WEIGHTED = 1
    NORM = 2
    ACTIVATION = 3


@dataclass(eq=False)
class Op:
    """One recorded operation; a kind of operation is a class, and says here what others may ask.

    Attributes:
        name: Name of the operation, for messages and for rules by name.
        ins: Nodes of the inputs that depend on the image.
        outs: Nodes of the outputs.
        module: Name of the module that it ran in, where a family's rules go by modules.
        place: Where it may stand in the first layer.
        weighs: Whether it is an affine map with weights.
        moves_over_pixels: Whether it reads the pixels in their places, as a convolution does.
        routes: Whether a gate stays a gate through it, and what is never negative stays so.
        pools: Whether it is a pooling.
        merges_sites: Whether it is one affine map with the convolutions and pools before it.
    """

    name: str
    ins: tuple[int, ...]
    outs: tuple[int, ...] = ()
    module: str = field(default="", init=False)
    place: ClassVar[Place] = Place.ELSEWHERE
    routes: ClassVar[bool] = False
    weighs: ClassVar[bool] = False
    moves_over_pixels: ClassVar[bool] = False
    pools: ClassVar[bool] = False
    merges_sites: ClassVar[bool] = False

    def propagate(self, signals: Signals) -> Signals:
        """The gradient rule: signals of the inputs from those of the outputs.

        A signal is relevance divided by the activation it belongs to; for linear operations it
        travels like a gradient.

        Args:
            signals: One [K, *output.shape] per output; None where an output has none.

        Returns:
            One [K, *input.shape] per input; None where an input gets none.
        """
        raise NotImplementedError

    def begin(self, output: Tensor) -> None:
        """Keeps the output of what begins the first layer."""
        raise NotImplementedError

    def activation(self) -> Tensor:
        """Output of an activation."""
        raise NotImplementedError

    def as_affine(self) -> tuple[Tensor, Tensor] | None:
        """Factor and term per channel, of what is nothing else (BatchNorm)."""
        return None

    @property
    def fuses(self) -> str:
        """What a fused step takes it as: "gate" (ReLU), "scale" (BatchNorm), "carry" (Conv), ""."""
        return ""

    def shorten(self, kept: frozenset[int]) -> Op:
        """An operation that does the same in fewer steps, if there is one.

        Args:
            kept: Nodes whose own signals are asked for.
        """
        return self

    # -- for families that carry relevance itself ------------------------------------------------

    def kept(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Values of the inputs and of the outputs, where a family has them kept.

        Raises:
            UnsupportedOperation: This kind does not keep them.
        """
        raise UnsupportedOperation(f"{self.name}: no rule of relevance; use family 'flex'")

    def share(self, relevance: Signals, epsilon: float) -> Signals:
        """Relevance of the inputs in proportion to what each contributed (docs/lrp.md, 2.1).

        Args:
            relevance: One [K, *output.shape] per output; None where an output has none.
            epsilon: Stabiliser, >= 0.

        Returns:
            One [K, *input.shape] per input; None where an input gets none.

        Raises:
            UnsupportedOperation: The operation has no such rule.
        """
        inputs, outputs = self.kept()
        signals = self.propagate([
            None if R is None else R / stabilise(z, epsilon)
            for R, z in zip(relevance, outputs, strict=True)
        ])  # fmt: skip
        return [None if g is None else a * g for a, g in zip(inputs, signals, strict=True)]

    # -- for LRP Block (record/sites.py) ----------------------------------------------------------

    def takes_in_sites(self) -> bool:
        """Whether an affine output that it reads is no epsilon site: its own formula has it."""
        return False

    def make_sites(
        self, read: Sequence[Sites], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> Sites:
        """Channels of its output that are epsilon sites where they are read.

        Args:
            read: Those of its inputs.
            inputs: Values.
            outputs: Values.
        """
        return ()

    def joined(self) -> tuple[int, ...]:
        """Inputs whose channels stand side by side in its output."""
        return ()

    # -- what is known of values before the backward pass ----------------------------------------

    def is_gate(self, graph: Graph, passing: frozenset[str]) -> bool:
        """Whether it makes a gate: a factor that is constant in the pass.

        Args:
            graph: The record.
            passing: Names of operations behind which a gate is still one.
        """
        if not (self.routes or self.name in passing):
            return False
        return all(graph.is_gate(node, passing) for node in self.ins)

    def saturates(self, graph: Graph, passing: frozenset[str]) -> bool:
        """Whether it is a saturating function, but for scale and shape."""
        if len(self.ins) != 1 or self.name not in passing:
            return False
        maker = graph.maker[self.ins[0]]
        return maker is not None and maker.saturates(graph, passing)

    def shifts(self) -> bool:
        """Whether it adds a number."""
        return False

    def nonnegative(self, graph: Graph) -> bool:
        """Whether its values are known not to be negative."""
        return self.routes and all(graph.nonnegative(node) for node in self.ins)


@dataclass
class Graph:
    """All operations of one forward pass in order.

    Attributes:
        ops: The operations.
        maker: Operation that made each node; None for the image (node 0).
        uses: Number of operations that read each node.
        joins: Node of each concatenation along channels, by the nodes of its parts.
        sites: For LRP Block: node behind the epsilon site of each node that is read through one.
    """

    ops: list[Op] = field(default_factory=list)
    maker: list[Op | None] = field(default_factory=lambda: [None])
    uses: list[int] = field(default_factory=lambda: [0])
    joins: dict[tuple[int, ...], int] = field(default_factory=dict)
    sites: dict[int, int] = field(default_factory=dict)

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

    def read_instead(self, op: Op, position: int, node: int) -> None:
        """Lets an appended operation read another node."""
        self.uses[op.ins[position]] -= 1
        self.uses[node] += 1
        op.ins = (*op.ins[:position], node, *op.ins[position + 1 :])

    def is_gate(self, node: int, passing: frozenset[str]) -> bool:
        """Whether a node holds a gate; see `Op.is_gate`."""
        op = self.maker[node]
        return op is not None and op.is_gate(self, passing)

    def nonnegative(self, node: int) -> bool:
        """Whether a node's values are known not to be negative."""
        op = self.maker[node]
        return op is not None and op.nonnegative(self)

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
        part: Part of the product that each input gets (products of several inputs).
    """

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    part: float = 1.0

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
        if self.part == 1:
            return stacked
        return [None if g is None else g * self.part for g in stacked]

    def kept(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Both are there for the product itself."""
        return self.inputs, self.outputs


@dataclass(eq=False)
class Route(Local):
    """Values that only move: their relevance moves with them."""

    def share(self, relevance: Signals, epsilon: float) -> Signals:
        """The same values' relevance, where they came from."""
        return self.propagate(relevance)


@dataclass(eq=False)
class Passing(Local):
    """What counts as nothing for families that carry relevance: dropout."""

    def share(self, relevance: Signals, epsilon: float) -> Signals:
        """The relevance itself."""
        return relevance

    def nonnegative(self, graph: Graph) -> bool:
        """As its input."""
        return graph.nonnegative(self.ins[0])


def _stack(rows: list[Tensor | None]) -> Tensor | None:
    present = [row for row in rows if row is not None]
    if not present:
        return None
    return present[0].unsqueeze(0) if len(rows) == 1 else torch.stack(present)
