"""Operations that the engine does not know, given a rule by whoever uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor
from torch.autograd import Function
from torch.overrides import handle_torch_function, has_torch_function

from isnet_lrp.errors import RelevanceError
from isnet_lrp.family import Registered
from isnet_lrp.ops.activation import record_any_activation
from isnet_lrp.ops.product import record_constant, record_product
from isnet_lrp.ops.structure import record_own_product, record_route
from isnet_lrp.record.graph import Local, Signals
from isnet_lrp.record.table import HANDLERS, Handler, name_of

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder

OperationRule = Callable[["Ruled", Signals, float], Signals]
KINDS: dict[str, Handler] = {
    "linear": record_own_product,
    "gradient": record_own_product,
    "move": record_route,
    "activation": record_any_activation,
    "product": record_product,
    "constant": record_constant,
}


@dataclass(eq=False)
class Ruled(Local):
    """An operation with the rule that was registered for it.

    Attributes:
        rule: (operation, signals of the outputs, epsilon) -> signals of the inputs. The operation
            has `inputs` and `outputs`, those that depend on the image, and `gradient(signals)`.
        epsilon: Stabiliser of the call.
    """

    rule: OperationRule = None  # type: ignore[assignment]
    epsilon: float = 0.0

    def propagate(self, signals: Signals) -> Signals:
        """By the rule."""
        return self.rule(self, signals, self.epsilon)

    def gradient(self, signals: Signals) -> Signals:
        """By the operation's own vector-Jacobian product."""
        return super().propagate(signals)


def register_operation(
    operation: Callable[..., Any] | type[Function] | str, rule: str | OperationRule
) -> Registered:
    """Gives an operation a rule, in all families that record it as the others do.

    Args:
        operation: A function of torch in any spelling, its plain name, or a subclass of
            `torch.autograd.Function` (whose `apply` the recording then sees).
        rule: "linear" or "gradient" (its own vector-Jacobian product), "activation" (elementwise,
            the identity rule), "product" (its inputs share), "move" (values only move), "constant"
            (carries no relevance), or a function (operation, signals, epsilon) -> signals: signals
            of the outputs [K, *shape], or None, to those of the inputs.

    Returns:
        A context manager at whose end the rule is forgotten; without `with` it stays.

    Raises:
        RelevanceError: No such kind of rule.
    """
    if isinstance(rule, str) and rule not in KINDS:
        raise RelevanceError(f"rule {rule!r}: expected one of {', '.join(KINDS)}, or a function")
    handler = KINDS[rule] if isinstance(rule, str) else _record_ruled(rule)
    undo = None
    if isinstance(operation, type):
        undo = _let_recordings_see(cast("type[Function]", operation))
        operation = cast("Any", operation).apply
    name = operation if isinstance(operation, str) else name_of(operation)[0]
    restore = HANDLERS.enter(name, handler)

    def forget() -> None:
        restore()
        if undo is not None:
            undo()

    return Registered(forget)


def _record_ruled(rule: OperationRule) -> Handler:
    def record(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        kind = partial(Ruled, rule=rule, epsilon=recorder.rules.epsilon)
        return recorder.record_local(name, func, args, kwargs, kind)

    return record


def _let_recordings_see(function: type[Function]) -> Callable[[], None]:
    """Lets `function.apply` ask the active recording, as torch's own functions do."""
    before, own = function.apply, function.__dict__.get("apply")

    def apply(*args: Any, **kwargs: Any) -> Any:
        tensors = tuple(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        if has_torch_function(tensors):
            return handle_torch_function(apply, tensors, *args, **kwargs)
        return before(*args, **kwargs)

    apply.__name__ = function.__qualname__  # by which the recording knows it

    def undo() -> None:
        if own is None:
            del function.apply
        else:
            function.apply = own

    function.apply = staticmethod(apply)
    return undo
