"""A dictionary by tensors that keeps none of them alive."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from torch import Tensor

V = TypeVar("V")
D = TypeVar("D")


class WeakDict(Generic[V]):
    """A mapping from tensors, by identity, that keeps none of them alive.

    It does what `torch.utils.weak.WeakIdKeyDictionary` does, in a tenth of the time: every
    operation of a recorded network looks up each of its tensors several times.
    """

    def __init__(self) -> None:
        self._found: dict[int, tuple[_Reference, V]] = {}
        mine = weakref.ref(self)

        def forget(reference: _Reference) -> None:
            found = mine()
            if found is not None:
                found._found.pop(reference.key, None)

        self._forget = forget

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, tensor: Tensor) -> bool:
        return id(tensor) in self._found

    def __getitem__(self, tensor: Tensor) -> V:
        return self._found[id(tensor)][1]

    def __setitem__(self, tensor: Tensor, value: V) -> None:
        reference = _Reference(tensor, self._forget)
        reference.key = id(tensor)
        self._found[reference.key] = (reference, value)

    def get(self, tensor: Tensor, default: D = None) -> V | D:  # type: ignore[assignment]
        """The value of a tensor, or `default`."""
        found = self._found.get(id(tensor))
        return default if found is None else found[1]

    def setdefault(self, tensor: Tensor, value: V) -> V:
        """The value of a tensor, set now if there is none."""
        if tensor not in self:
            self[tensor] = value
        return self[tensor]

    def items(self) -> Iterator[tuple[Tensor, V]]:
        """All living tensors and their values."""
        for reference, value in list(self._found.values()):
            tensor: Any = reference()
            if tensor is not None:
                tensor._fix_weakref()  # its Python side may have been asleep
                yield tensor, value


class _Reference(weakref.ref[Tensor]):
    """A weak reference that knows its tensor's identity when that is gone."""

    __slots__ = ("key",)
    key: int
