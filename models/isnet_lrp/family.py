"""A family: a rule for each kind of operation, where the pass starts, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from isnet_lrp.errors import RelevanceError
from isnet_lrp.record.graph import Op, Signals
from isnet_lrp.record.table import Handler, Registry
from isnet_lrp.targets import TARGETS, Begin

Rule = Callable[[Any, Signals, float], Signals]


@dataclass(frozen=True)
class Family:
    """A family of rules.

    Attributes:
        name: By which `relevance` knows it.
        start: Signal (or relevance) at the logits [K', B, K].
        carries: What a rule gets of an operation's outputs and gives to its inputs. "signals":
            relevance divided by the activation, as gradients travel; the rule of a kind that
            `rules` lacks is its gradient. "relevance": relevance itself; the rule of other kinds
            is to share it in proportion to contributions, and BatchNorm is taken into the
            convolutions before it.
        rules: Rule by kind of operation (a class, whose heirs follow it) or by plain name, which
            goes first: (operation, signals of the outputs, epsilon) -> signals of the inputs.
        modules: Rule of the weighted operations in a module, by its name; goes before `rules`.
        records: How operations are run and recorded, by plain name, where the family needs it
            otherwise.
        sites: Whether epsilon sites are put between affine outputs and their readers (LRP Block).
        constant_biases: Whether biases are constants when relevance is differentiated.
        targets: What may be explained.
        mixed: Whether the pass may be made in bfloat16.
    """

    name: str
    start: Callable[[Begin], Tensor]
    carries: Literal["signals", "relevance"] = "signals"
    rules: Mapping[type[Op] | str, Rule] = field(default_factory=dict)
    modules: Mapping[str, Rule] = field(default_factory=dict)
    records: Mapping[str, Handler] = field(default_factory=dict)
    sites: bool = False
    constant_biases: bool = False
    targets: tuple[str, ...] = tuple(t for t in TARGETS if t != "max-probability")
    mixed: bool = False

    def find_rule(self, op: Op) -> Rule | None:
        """The family's rule of an operation; None: that of its kind."""
        if self.modules and op.module in self.modules and op.weighs:
            return self.modules[op.module]
        if not self.rules:
            return None
        named = self.rules.get(op.name)
        if named is not None:
            return named
        return next((self.rules[kind] for kind in type(op).__mro__ if kind in self.rules), None)

    def with_modules(self, modules: Mapping[str, Rule]) -> Family:
        """The same with rules of its own for some modules."""
        return replace(self, modules=modules)


_FAMILIES: Registry[tuple[Family, ...]] = Registry()


class Registered:
    """What was registered; as a context manager it is forgotten at the end."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self.forget = forget

    def __enter__(self) -> Registered:
        return self

    def __exit__(self, *error: object) -> None:
        self.forget()


def register_family(family: Family, *more: Family, name: str | None = None) -> Registered:
    """Lets `relevance` know a family by its name.

    Args:
        family: The family.
        more: Further families, whose maps come behind its own; they must record alike.
        name: Of several families together.

    Returns:
        A context manager at whose end the family is forgotten; without `with` it stays.

    Raises:
        RelevanceError: The name is taken, or families record differently.
    """
    name = name or family.name
    if name in _FAMILIES:
        raise RelevanceError(f"family {name!r}: the name is taken")
    if any(other.records != family.records for other in more):
        raise RelevanceError(f"family {name!r}: its parts record operations differently")
    return Registered(_FAMILIES.enter(name, (family, *more)))


def find_family(name: str) -> tuple[Family, ...]:
    """The families that are registered by a name, one or more.

    Raises:
        RelevanceError: None is.
    """
    if name not in _FAMILIES:
        raise RelevanceError(f"family {name!r}: expected one of {', '.join(_FAMILIES)}")
    return _FAMILIES[name]


def list_families() -> tuple[str, ...]:
    """Names of all registered families."""
    return tuple(_FAMILIES)
