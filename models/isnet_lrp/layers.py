"""Hidden layers for deep supervision: found by module name, or chosen from the record."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from isnet_lrp.errors import RelevanceError
from isnet_lrp.record.graph import Graph, Place
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


@contextmanager
def name_modules(net: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Tells the recorder which module runs, during one forward pass."""
    thread, running = threading.get_ident(), [""]

    def watch(name: str, module: nn.Module) -> list[RemovableHandle]:
        def enter(_: nn.Module, args: Any) -> None:
            if threading.get_ident() == thread:
                running.append(name)
                recorder.module = name

        def leave(_: nn.Module, args: Any, output: Any) -> None:
            if threading.get_ident() == thread:
                running.pop()
                recorder.module = running[-1]

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    handles: list[RemovableHandle] = []
    try:
        for name, module in net.named_modules():
            handles += watch(name, module)
        yield
    finally:
        for handle in handles:
            handle.remove()


def make_masks(
    found: Mapping[str, tuple[int, Tensor]], conditions: Mapping[str, Sequence[int] | Tensor]
) -> dict[int, Tensor]:
    """Factors of the relevance of conditioned layers, by node.

    Args:
        found: {name: (node, output)}.
        conditions: {name: channels, or a factor}.

    Raises:
        RelevanceError: A channel that the layer does not have.
    """
    masks: dict[int, Tensor] = {}
    for name, (node, output) in found.items():
        given = conditions[name]
        axis = 2 if output.dim() == 3 else 1
        if isinstance(given, Tensor):
            mask = given.to(output)
        else:
            channels = output.shape[axis]
            if not all(0 <= c < channels for c in given):
                raise RelevanceError(
                    f"conditions {name!r}: {list(given)}; the layer has channels 0 to "
                    f"{channels - 1}"
                )
            mask = output.new_zeros(channels)
            mask[torch.tensor(list(given), dtype=torch.long, device=mask.device)] = 1
            mask = mask.view(-1, *([1] * (output.dim() - 1 - axis)))
        masks[node] = masks[node] * mask if node in masks else mask
    return masks


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
        {"HxW": (node, activation [B, C, H, W])}, in the order of the network; none in one without
        activations that have height and width behind the first, such as a vision transformer.
    """
    end = recorder.find_node(logits)
    if end is None:
        return {}  # the relevance pass says why nothing can be explained
    live, passed = _on_the_way(recorder.graph, end)
    chosen: dict[str, tuple[int, Tensor]] = {}
    ops = [op for op in recorder.graph.ops if op.place == Place.ACTIVATION]
    for op in ops[1:]:
        value, node = op.activation(), op.outs[0]
        if value.dim() == 4 and node in live and _like(value, image):
            size = f"{value.shape[2]}x{value.shape[3]}"
            if node in passed or size not in chosen or chosen[size][0] not in passed:
                chosen[size] = node, value
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
