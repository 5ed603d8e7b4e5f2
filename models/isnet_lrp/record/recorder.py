"""Sees every operation of an untouched network during one forward pass and records it.

A `TorchFunctionMode` intercepts operations in every spelling (module, functional, method, in
place), so networks need no wrapper, no renaming and no rebuilding; it is active in this thread
and this call alone. Operations run as they are, except that in-place ones write beside their
input (the record needs both) and BatchNorm also gives its statistics.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from isnet_lrp.errors import RelevanceError, UnsupportedOperation
from isnet_lrp.ops import HANDLERS
from isnet_lrp.ops.product import CONSTANTS, FACTORS_IN
from isnet_lrp.ops.structure import RESHAPES
from isnet_lrp.record.graph import Graph, Local, Op, Place
from isnet_lrp.record.inplace import drop_inplace_argument, find_out_of_place, views_overlap
from isnet_lrp.record.sites import EpsilonSites
from isnet_lrp.record.stem import Layout, Stem, Stems, check_uniform, find_layout
from isnet_lrp.record.table import Handler, name_of
from isnet_lrp.record.visibility import (
    check_visible,
    depends_on_image,
    get_saving_hooks,
    hidden_tensor_error,
)
from isnet_lrp.record.weak_dict import WeakDict

if TYPE_CHECKING:
    from isnet_lrp.family import Family

CONSTANT = -1


@dataclass(frozen=True)
class Rules:
    """What the rules of one call depend on.

    Attributes:
        epsilon: LRP's stabiliser, >= 0.
        sites: Whether LRP Block's epsilon sites are recorded.
        values: Whether values are kept, for families that carry relevance.
        full_batch_norm: Whether BatchNorm in training mode is treated as in the published code.
        mixed: Whether relevance pass and training backward pass are computed in bfloat16.
        records: How the family records operations that it does not record as others do.
    """

    epsilon: float
    sites: bool = False
    values: bool = False
    full_batch_norm: bool = False
    mixed: bool = False
    records: Mapping[str, Handler] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        families: Sequence[Family],
        epsilon: float,
        *,
        full_batch_norm: bool = False,
        mixed: bool = False,
    ) -> Rules:
        """What the recording of these families depends on."""
        values = any(family.carries == "relevance" for family in families)
        sites = any(family.sites for family in families)
        return cls(epsilon, sites, values, full_batch_norm, mixed, families[0].records)


class Recorder(TorchFunctionMode):
    """Records one forward pass.

    Args:
        rules: Settings of the call.
        image: The network's input, node 0.
        stem: Whether affine operations on single pixels may stand before the first layer.

    Attributes:
        graph: The record.
        image: The network's input.
        first: (node, tensor) of the last output of the first layer's chain convolution or linear
            layer -> BatchNorm -> activation; None if the network does not start so.
        stem: What stands before the first layer; None where it reads the image itself.
        stems: Followed until the first layer; None where none are wanted.
        sites: LRP Block's epsilon sites, or None.
        module: Name of the module that runs, where somebody says so.
    """

    def __init__(self, rules: Rules, image: Tensor, *, stem: bool = False) -> None:
        super().__init__()
        self.rules = rules
        self.graph = Graph()
        self.sites = EpsilonSites(self.graph, rules.epsilon) if rules.sites else None
        self.module = ""
        self.first: tuple[int, Tensor] | None = None
        self.stem: Layout | Stem | None = None
        self.stems = Stems(image) if stem else None
        self._nodes: WeakDict[int] = WeakDict()
        self._nodes[image] = 0
        self.image = image
        # tensor -> what an in-place operation made of it
        self._replaced: WeakDict[Tensor] = WeakDict()
        # tensor -> weak references to its views
        self._views: WeakDict[list[weakref.ref[Tensor]]] = WeakDict()
        # tensors that share memory with an overwritten one
        self._stale: WeakDict[bool] = WeakDict()
        self._saving = get_saving_hooks()
        # constants that may only be factors: from which f
        self._factors: WeakDict[str] = WeakDict()

    def find_node(self, tensor: Tensor) -> int | None:
        """Node of a tensor that depends on the image, else None."""
        found: int | None = self._nodes.get(self._latest(tensor))
        return None if found == CONSTANT else found

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs and records one operation."""
        if get_saving_hooks() == self._saving:
            return self._run(func, args, kwargs or {})
        # Activation checkpointing inside the network: its repetition would not be seen, and what
        # it saves is small beside the record, so everything is kept.
        with saved_tensors_hooks(_same, _same):
            return self._run(func, args, kwargs or {})

    def _run(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._replaced:
            args, kwargs = self._current(args), self._current(kwargs)
        name, inplace = name_of(func)
        factor = self._factor(args, kwargs) if self._factors else None
        if not self._depends(args, kwargs):
            out = func(*args, **kwargs)
            if factor is not None and name not in CONSTANTS:
                self._mark_factor(out, factor)
            return self.record_constant(out)
        if factor is not None and name not in FACTORS_IN:
            raise _no_rule(f"{factor} (but as a factor)")
        if not torch.is_grad_enabled():
            if inplace and self.find_node(args[0]) is not None:
                raise UnsupportedOperation(f"{name}_ without gradient on a tensor of the image")
            return func(*args, **kwargs)
        args, kwargs, asked = drop_inplace_argument(name, args, kwargs)
        inplace = inplace or asked
        if inplace:
            func = find_out_of_place(func, name)
        handler = self.rules.records.get(name) or HANDLERS.get(name, _unknown)
        out = handler(self, name, func, args, kwargs)
        if self.stems:
            self.stems.follow(self.graph, self.find_node, name, func, args, kwargs, out)
        if inplace and isinstance(args[0], Tensor):
            self._overwrite(args[0], out)
        return out

    # -- what handlers use ---------------------------------------------------------------------

    def record(self, op: Op, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """Appends an operation, giving nodes to its outputs."""
        op.ins = tuple([self._nodes[t] for t in inputs])
        op.module = self.module
        made = () if self.sites is None else self.sites.read(op, inputs, outputs)
        op.outs = tuple([self.graph.add_node() for _ in outputs])
        for node, tensor in zip(op.outs, outputs, strict=True):
            self._nodes[tensor] = node
            if tensor._base is not None:
                self._views.setdefault(tensor._base, []).append(weakref.ref(tensor))
        self.graph.add(op)
        if self.sites is not None:
            self.sites.write(op, made)

    def extend_first(self, op: Op, output: Tensor) -> None:
        """Lengthens the first layer's chain by an operation that reads its end, or begins it."""
        if op.place == Place.WEIGHTED:
            if self.first is None and self._starts_at(op):
                op.begin(output)
                self.first = (op.outs[0], output)
        elif self.first is not None and op.ins == (self.first[0],):
            before = self.graph.maker[self.first[0]]
            if before is not None and before.place < op.place:
                self.first = (op.outs[0], output)

    def record_local(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        kind: Callable[..., Local] = Local,
        keep: Callable[[int], bool] = lambda position: True,
        part: float = 1.0,
    ) -> Any:
        """Runs an operation whose own vector-Jacobian product is its rule.

        Its inputs are aliased first: the product must not run around the operation through
        other paths of the network.

        Args:
            name: Name for messages.
            func: The operation.
            args: Its arguments.
            kwargs: Its named arguments.
            kind: What makes the record.
            keep: Which of the inputs that depend on the image get a signal, by their order.
            part: Part of the product that each input gets.
        """
        aliases = _Aliases(self, keep)
        args = tuple(aliases.of(a) for a in args)
        kwargs = {k: aliases.of(v) for k, v in kwargs.items()}
        out = func(*args, **kwargs)
        outputs = tuple(t for t in _tensors(out) if t.is_floating_point() or t.is_complex())
        if aliases.made and outputs:
            op = kind(name, (), inputs=tuple(a for _, a in aliases.made), outputs=outputs)
            op.part = part
            self.record(op, tuple(t for t, _ in aliases.made), outputs)
        return self.record_constant(out)

    def record_constant(self, out: Any) -> Any:
        """Marks results that carry no relevance, unless they have nodes, and returns them.

        Args:
            out: Result of an operation.
        """
        for tensor in _tensors(out):
            if tensor.requires_grad and tensor not in self._nodes:
                self._nodes[tensor] = CONSTANT
        return out

    def record_factor(self, name: str, out: Any) -> Any:
        """A constant that may only be a factor or a denominator, since its function has no rule.

        Args:
            name: Name of the function.
            out: Its result.
        """
        self._mark_factor(out, name)
        return self.record_constant(out)

    # -- internals -----------------------------------------------------------------------------

    def _starts_at(self, op: Op) -> bool:
        """Whether a layer reads the image, or what affine operations made of its pixels."""
        read = op.ins[0] if self.sites is None else self.sites.before.get(op.ins[0], op.ins[0])
        stem = None if self.stems is None else self.stems.take(read)
        if self._reads_image(read):
            return True
        if stem is None:
            return False
        self.stem = stem
        if op.moves_over_pixels:
            self.stem = find_layout(stem, self.image.shape)
            check_uniform(stem, self.stem)
        return True

    def _reads_image(self, node: int) -> bool:
        while node != 0:
            maker = self.graph.maker[node]
            if maker is None or maker.name not in RESHAPES:
                return False
            node = maker.ins[0]
        return True

    def _depends(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        depends = False
        for tensor in _tensors((args, tuple(kwargs.values())) if kwargs else args):
            node = self._nodes.get(tensor)
            if self._stale and tensor in self._stale:
                raise UnsupportedOperation(
                    f"a tensor of shape {tuple(tensor.shape)} is read after an operation wrote in "
                    "place into another view of its memory: use the operation that makes a new "
                    "tensor"
                )
            if node is None:
                if tensor.grad_fn is not None and self._hidden(tensor):
                    raise hidden_tensor_error(tensor)
            elif node != CONSTANT:
                depends = True
        return depends

    def _hidden(self, tensor: Tensor) -> bool:
        seen = {t.grad_fn for t, node in self._nodes.items() if node != CONSTANT}
        return depends_on_image(tensor, self.image, seen)

    def _factor(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """The function without rule that made one of the arguments, if any."""
        found = (self._factors.get(t) for t in _tensors((args, tuple(kwargs.values()))))
        return next((name for name in found if name is not None), None)

    def _mark_factor(self, out: Any, name: str) -> None:
        for tensor in _tensors(out):
            self._factors[tensor] = name

    def _overwrite(self, tensor: Tensor, out: Tensor) -> None:
        """Lets `out` stand for a tensor written in place; its other views are out of date."""
        if out is tensor:
            return
        self._replaced[tensor] = out
        base = tensor if tensor._base is None else tensor._base
        if out._base is base:  # another shape of the same elements: nothing was written
            return
        views = [reference() for reference in self._views.get(base, ())]
        for other in (base, *views):
            if other is not None and other is not tensor and views_overlap(other, tensor):
                self._stale[other] = True

    def _latest(self, tensor: Tensor) -> Tensor:
        while tensor in self._replaced:
            tensor = self._replaced[tensor]
        return tensor

    def _current(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._latest(value)
        if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
            if any(isinstance(v, (Tensor, tuple, list)) for v in value):
                return type(value)(self._current(v) for v in value)
            return value
        if isinstance(value, dict):
            return {k: self._current(v) for k, v in value.items()}
        return value


class _Aliases:
    """Puts a view of its own in place of each input that depends on the image.

    No nested function does this: one that calls itself is a reference cycle, and would keep the
    whole pass in memory until the garbage collector runs.

    Attributes:
        made: Pairs (input, its view).
    """

    def __init__(self, recorder: Recorder, keep: Callable[[int], bool]) -> None:
        self.made: list[tuple[Tensor, Tensor]] = []
        self._recorder = recorder
        self._keep = keep
        self._seen = 0

    def of(self, value: Any) -> Any:
        """The argument, in lists and tuples too, with its tensors replaced."""
        if isinstance(value, Tensor) and self._recorder.find_node(value) is not None:
            position, self._seen = self._seen, self._seen + 1
            if not self._keep(position):
                return value
            self.made.append((value, value.view_as(value)))
            return self.made[-1][1]
        if isinstance(value, (tuple, list)) and any(isinstance(v, Tensor) for v in value):
            return type(value)(self.of(v) for v in value)
        return value


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _unknown(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Operations without a rule, which raise, unless their results carry nothing anyway."""
    out = func(*args, **kwargs)
    if any(t.requires_grad for t in _tensors(out)):
        raise _no_rule(name)
    return out


def _no_rule(name: str) -> UnsupportedOperation:
    return UnsupportedOperation(
        f"{name}: no relevance rule for this operation; docs/relevance.md lists those with a rule, "
        "docs/extend-lrp.md shows how to give it one"
    )


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if not isinstance(value, (tuple, list)) or isinstance(value, torch.Size):
        return []
    found = []
    for part in value:
        if isinstance(part, Tensor):
            found.append(part)
        elif isinstance(part, (tuple, list)):
            found += _tensors(part)
    return found


__all__ = ["Recorder", "RelevanceError", "Rules", "check_visible"]
