"""Recording a whole step as one graph of plain operations, for compilers.

While it is traced, values cannot be looked at, and what is constant must be marked: the tracer
follows numbers, not derivatives, and would forget that a tensor was detached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.overrides import TorchFunctionMode


def is_tracing() -> bool:
    """Whether operations are being traced, so that no value may decide what is done next."""
    return get_proxy_mode() is not None


def trace(step: Callable[..., Any], *args: Any) -> GraphModule:
    """The operations of `step(*args)` as a graph with derivatives as torch's operations have them.

    What the step detaches stays detached.

    Args:
        step: A function of (lists of) tensors, without in-place changes but of its arguments.
        args: Example arguments; they are not changed.
    """

    def marked(*args: Any) -> Any:
        with _Marks():
            return step(*args)

    graph = make_fx(marked, tracing_mode="fake")(*args)
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and node.target is _MARK:
            with graph.graph.inserting_before(node):
                detached = graph.graph.call_method("detach", (node.args[0],))
            node.replace_all_uses_with(detached)
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


@torch.library.custom_op("isnet_lrp::constant", mutates_args=())
def _constant(tensor: Tensor) -> Tensor:
    """Marks a detached tensor in a traced graph."""
    return tensor.clone()


@_constant.register_fake
def _constant_like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor)


_MARK = torch.ops.isnet_lrp.constant.default


class _Marks(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.detach:
            return _constant(args[0])
        return func(*args, **(kwargs or {}))
