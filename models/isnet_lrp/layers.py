"""Hidden layers for deep supervision: found by module name, or chosen from the record."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from isnet_lrp.errors import RelevanceError
from isnet_lrp.ops.activation import Activation, ReLU
from isnet_lrp.record.graph import Graph
from isnet_lrp.record.recorder import Recorder


class LayerWatch:
    """Keeps the outputs of named modules during one forward pass, then leaves no trace.

    Args:
        net: The network.
        names: Module names, as `named_modules` gives them.
        recorder: The recording.

    Attributes:
        found: {name: (node, activation)}.

    Raises:
        RelevanceError: A name that the network does not have.
    """

    def __init__(self, net: nn.Module, names: Sequence[str], recorder: Recorder) -> None:
        self.found: dict[str, tuple[int, Tensor]] = {}
        self._recorder = recorder
        self._thread = threading.get_ident()
        self._handles: list[RemovableHandle] = []
        if isinstance(names, str):
            raise RelevanceError(f"layers {names!r}: expected a list of names, or 'auto'")
        modules = dict(net.named_modules())
        unknown = [name for name in names if name not in modules or name == ""]
        if unknown:
            raise RelevanceError(
                f"layers {', '.join(map(repr, unknown))}: the network has no such modules; "
                "names are those of net.named_modules()"
            )
        self._wanted = {name: modules[name] for name in names}

    def __enter__(self) -> LayerWatch:
        for name, module in self._wanted.items():
            self._handles.append(module.register_forward_hook(self._hook(name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def collect_layers(self) -> dict[str, tuple[int, Tensor]]:
        """What was found.

        Raises:
            RelevanceError: A named module that did not run.
        """
        missing = [name for name in self._wanted if name not in self.found]
        if missing:
            raise RelevanceError(
                f"layers {', '.join(map(repr, missing))} did not run in the forward pass: name "
                "modules that the network calls"
            )
        return self.found

    def _hook(self, name: str) -> Any:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            if threading.get_ident() != self._thread:
                return  # another thread runs the same module
            node = self._recorder.find_node(output) if isinstance(output, Tensor) else None
            if node is None:
                raise RelevanceError(
                    f"layer {name!r}: its output is not a tensor that depends on the image"
                )
            self.found[name] = (node, output)

        return note


def choose_layers(
    recorder: Recorder, image: Tensor, logits: Tensor
) -> dict[str, tuple[int, Tensor]]:
    """The last activation of each spatial size, the first layer's left out.

    Source: docs/lrp.md, section 3.5.

    Where a size has activations that all relevance passes through (no path leads around them),
    the last of these. For ResNet these are the outputs of layer1 to layer4, for DenseNet the first
    ReLU of every transition and the last ReLU, for VGG the input of every pooling.

    Args:
        recorder: The recording.
        image: The network's input [B, C, H, W].
        logits: Its output.

    Returns:
        {"HxW": (node, activation [B, C, H, W])}, in the order of the network.

    Raises:
        RelevanceError: The network has no activation with height and width behind the first.
    """
    end = recorder.find_node(logits)
    if end is None:
        return {}  # the relevance pass says why nothing can be explained
    live, passed = _on_the_way(recorder.graph, end)
    chosen: dict[str, tuple[int, Tensor]] = {}
    ops = [op for op in recorder.graph.ops if isinstance(op, (ReLU, Activation))]
    for op in ops[1:]:
        if op.value.dim() == 4 and op.outs[0] in live and _like(op.value, image):
            size, node = f"{op.value.shape[2]}x{op.value.shape[3]}", op.outs[0]
            if node in passed or size not in chosen or chosen[size][0] not in passed:
                chosen[size] = node, op.value
    if not chosen:
        raise RelevanceError(
            "layers='auto': the network has no hidden activations with height and width; "
            "name its layers"
        )
    return chosen


def _like(activation: Tensor, image: Tensor) -> bool:
    """Whether the last two axes are height and width, which they are not with channels last."""
    skew = activation.shape[2] * image.shape[3] / (activation.shape[3] * image.shape[2])
    return 1 / 4 <= skew <= 4


def _on_the_way(graph: Graph, end: int) -> tuple[set[int], set[int]]:
    """Nodes on any path from the image to node `end`, and those that every path passes through."""
    live, farthest = {end}, dict[int, int]()
    for op in reversed(graph.ops):
        outs = [node for node in op.outs if node in live]
        if outs:
            live.update(op.ins)
            for node in op.ins:
                farthest[node] = max(farthest.get(node, 0), *outs)
    found, reach = set(), 0  # nodes are numbered in order: an edge beyond a node leads around it
    for node in sorted(live):
        if reach <= node:
            found.add(node)
        reach = max(reach, farthest.get(node, 0))
    return live, found
