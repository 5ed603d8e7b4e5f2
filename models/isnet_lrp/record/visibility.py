"""What the recorder cannot see: compiled modules, scripted functions, C++ blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isnet_lrp.errors import UnsupportedOperation


def check_visible(net: nn.Module) -> None:
    """Refuses networks whose operations cannot be seen.

    Raises:
        UnsupportedOperation: The network or a part of it is compiled or scripted.
    """
    for name, module in net.named_modules():
        hidden = isinstance(module, torch.jit.ScriptModule) or type(module).__name__ in (
            "OptimizedModule", "GraphModuleImpl",
        )  # fmt: skip
        if hidden or getattr(module, "_compiled_call_impl", None) is not None:
            where = name or type(module).__name__
            raise UnsupportedOperation(
                f"{where}: a compiled or scripted module hides its operations; explain the "
                "network it was made from"
            )


def depends_on_image(tensor: Tensor, image: Tensor, seen: set[Any]) -> bool:
    """Whether a tensor that was not seen being made depends on the image.

    Some networks keep tensors from call to call that depend on parameters alone; they are
    constants.

    Args:
        tensor: A tensor with a gradient's history.
        image: The network's input.
        seen: Nodes of the recorded tensors in autograd's graph.

    Returns:
        False only if its history holds neither the image nor a recorded tensor.
    """
    if not image.requires_grad:
        return True  # its history would not show the image
    todo, done = [tensor.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in done:
            continue
        if node in seen or getattr(node, "variable", None) is image:
            return True
        done.add(node)
        todo += [before for before, _ in node.next_functions]
    return False


def hidden_tensor_error(tensor: Tensor) -> UnsupportedOperation:
    """The error for a tensor that was made where the recorder could not see it."""
    maker = "unknown" if tensor.grad_fn is None else tensor.grad_fn.name()
    return UnsupportedOperation(
        f"a tensor of shape {tuple(tensor.shape)} was computed where the recorder cannot see "
        f"it ({maker}): compiled and scripted functions, C++ blocks, autograd Functions and "
        "reentrant checkpoints cannot be explained; give the plain network, or an autograd "
        "Function a rule by isnet_lrp.register_operation"
    )


def get_saving_hooks() -> object:
    """The hooks, if any, through which autograd saves tensors now."""
    top: Callable[[bool], object] | None = getattr(
        torch._C._autograd, "_top_saved_tensors_default_hooks", None
    )
    return None if top is None else top(False)
