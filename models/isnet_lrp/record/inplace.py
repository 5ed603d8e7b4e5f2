"""Operations that write into their input, and the ones that make the same values anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation

# Position of the argument `inplace` where a function has one.
INPLACE_AT = {
    "relu": 1, "relu6": 1, "hardtanh": 3, "elu": 2, "selu": 1, "celu": 2, "silu": 1, "mish": 1,
    "hardswish": 1, "hardsigmoid": 1, "leaky_relu": 2, "rrelu": 4, "threshold": 3, "dropout": 3,
    "dropout1d": 3, "dropout2d": 3, "dropout3d": 3, "alpha_dropout": 3, "feature_alpha_dropout": 3,
}  # fmt: skip


def drop_inplace_argument(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """Arguments less `inplace`, and whether it was asked.

    Args:
        name: Name of the function.
        args: Its arguments.
        kwargs: Its named arguments.
    """
    if name not in INPLACE_AT:
        return args, kwargs, False
    position = INPLACE_AT[name]
    asked = bool(kwargs.get("inplace", False))
    kwargs = {k: v for k, v in kwargs.items() if k != "inplace"}
    if len(args) > position:
        asked = asked or bool(args[position])
        args = args[:position]
    return args, kwargs, asked


def find_out_of_place(func: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The operation that returns what an in-place one writes.

    Args:
        func: Any operation.
        name: Its plain name.

    Raises:
        UnsupportedOperation: There is none.
    """
    if name == "setitem":
        return assign_copy
    if not getattr(func, "__name__", "").endswith("_"):
        return func
    for home in (Tensor, F, torch):
        found = getattr(home, name, None)
        if callable(found):
            plain: Callable[..., Any] = found
            return plain
    raise UnsupportedOperation(f"{name}_: writes into a tensor that depends on the image")


def assign_copy(tensor: Tensor, index: Any, value: Any) -> Tensor:
    """A copy of a tensor after `tensor[index] = value`."""
    copy = tensor.clone()
    copy[index] = value
    return copy


def views_overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two views of the same memory have an element in common."""
    end = 1 + max(t.storage_offset() + sum((n - 1) * s for n, s in zip(t.shape, t.stride(),
                                                                      strict=True))
                  for t in (a, b))  # fmt: skip
    marks = torch.zeros(end, dtype=torch.bool)
    marks.as_strided(a.shape, a.stride(), a.storage_offset()).fill_(True)
    return bool(marks.as_strided(b.shape, b.stride(), b.storage_offset()).any())
