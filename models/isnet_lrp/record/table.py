"""Which operation is recorded how, by the plain name of torch's function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder

Handler = Callable[["Recorder", str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
H = TypeVar("H", bound=Handler)
V = TypeVar("V")
REFLECTED = {"radd": "add", "rmul": "mul", "rmatmul": "rmatmul", "rtruediv": "rdiv",
             "rdiv": "rdiv", "rsub": "rsub", "rpow": "rpow"}  # fmt: skip
INPLACE = {"iadd", "isub", "imul", "itruediv", "idiv", "ipow", "imatmul"}
REQUIRED = object()


class Registry(dict[str, V]):
    """What is known by name, to which a program may add."""

    def enter(self, name: str, value: V) -> Callable[[], None]:
        """Sets what a name stands for.

        Returns:
            A function that restores what it stood for before.
        """
        before = self.get(name)
        self[name] = value

        def forget() -> None:
            if before is None:
                del self[name]
            else:
                self[name] = before

        return forget


HANDLERS: Registry[Handler] = Registry()


def records(names: Iterable[str]) -> Callable[[H], H]:
    """Lets a function run and record the operations of these names; no name has two."""

    def enter(handler: H) -> H:
        for name in names:
            if name in HANDLERS:
                raise KeyError(f"{name}: recorded twice")
            HANDLERS.enter(name, handler)
        return handler

    return enter


class Signature:
    """The arguments of a function of torch, by place or by name.

    Args:
        text: Names of those that must be given, in order.
        defaults: Names and values of the others, in order.
    """

    def __init__(self, text: str, **defaults: Any) -> None:
        self._defaults = dict.fromkeys(text.split(), REQUIRED) | defaults

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The value of every argument, in order.

        Raises:
            TypeError: One is missing or unknown.
        """
        found = self._defaults | dict(zip(self._defaults, args, strict=False)) | kwargs
        if len(found) != len(self._defaults) or len(args) > len(found):
            raise TypeError(f"arguments {args} {kwargs}: expected {', '.join(self._defaults)}")
        if any(value is REQUIRED for value in found.values()):
            raise TypeError(f"missing arguments among {', '.join(self._defaults)}")
        return list(found.values())


@functools.lru_cache(maxsize=4096)
def name_of(func: Callable[..., Any]) -> tuple[str, bool]:
    """The plain name of an operation in any spelling, and whether it writes into its input."""
    name = getattr(func, "__name__", str(func))
    if name == "__get__":  # a property such as Tensor.T
        return str(getattr(getattr(func, "__self__", None), "__name__", name)), False
    inplace = False
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        if name in REFLECTED:
            name = REFLECTED[name]
        elif name in INPLACE:
            name, inplace = name[1:], True
    elif name.endswith("_") and not name.endswith("__"):
        name, inplace = name[:-1], True
    name = name.lstrip("_")
    return {"truediv": "div"}.get(name, name), inplace or name == "setitem"
