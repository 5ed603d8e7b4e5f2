"""A network as an ONNX graph for any batch, with what predictions need of it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from isnet_cli.errors import IsnetError
from isnet_cli.export.geometry import COARSE, OPSET, PIXELS
from isnet_cli.inference.onnx_model import FEATURES
from isnet_models.explanations import gradcam
from isnet_models.explanations.explanation import MethodError
from isnet_models.features import last_layer, watched

if TYPE_CHECKING:
    import onnx

LOGITS, PROBABILITIES = "logits", "probabilities"
MASK = "lungs"
_NEAR = 1e-4  # of the largest value: the closed form must be Grad-CAM's own


@dataclass(frozen=True)
class Camera:
    """Grad-CAM of a network whose last layer is linear in its last feature map, pooled or not.

    Attributes:
        weight: Mean over positions of the slope of each logit on each channel [K, C].
    """

    weight: Tensor

    def look(self, A: Tensor, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps [B, h, w] >= 0 of the largest logit, from the feature map `A` [B, C, h', w']."""
        chosen = self.weight[logits.argmax(1)][:, :, None, None]
        found = (chosen * A).sum(1, keepdim=True).relu()
        return interpolate(found, size, mode="bilinear", align_corners=False)[:, 0]


class Answer(nn.Module):
    """A classifier with all that is exported: logits, probabilities, features, a map.

    Args:
        net: [B, C, h, w] in [0, 1] -> logits [B, K].
        several: Several labels per image: sigmoids instead of a softmax.
        with_features: Also what the last layer decides from.
        camera: Also Grad-CAM.
    """

    def __init__(
        self, net: nn.Module, *, several: bool, with_features: bool, camera: Camera | None
    ) -> None:
        super().__init__()
        self.net, self.several = net, several
        self.with_features, self.camera = with_features, camera

    @property
    def outputs(self) -> list[str]:
        """Names of the results, in order."""
        more = [FEATURES] if self.with_features else []
        return [LOGITS, PROBABILITIES, *more, *([COARSE] if self.camera else [])]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The results named by `outputs`, for images [B, C, h, w] in [0, 1]."""
        with contextlib.ExitStack() as stack:
            seen = stack.enter_context(watched(self.net)) if self.with_features else None
            maps = stack.enter_context(gradcam.watched(self.net)) if self.camera else None
            logits = self.net(pixels)
        found = [logits, logits.sigmoid() if self.several else logits.softmax(1)]
        if seen is not None:  # as `isnet_models.features.features`, which fixes the batch's size
            found.append(seen[0].mean(dim=(2, 3)) if seen[0].dim() == 4 else seen[0])
        if self.camera and maps is not None and maps.features is not None:
            size = (pixels.shape[2], pixels.shape[3])
            found.append(self.camera.look(maps.features, logits, size))
        return tuple(found)


class Lungs(nn.Module):
    """The lung U-Net with its map's channel taken off.

    Args:
        net: [B, 1, h, w] in [0, 1] -> probabilities [B, 1, h, w].
    """

    outputs: Sequence[str] = (COARSE,)

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Probabilities of lung [B, h, w]."""
        return (self.net(pixels)[:, 0],)


def find_camera(net: nn.Module, pixels: Tensor) -> Camera:
    """Grad-CAM of `net` in closed form, checked on images against the gradient's own.

    Args:
        net: In evaluation mode.
        pixels: Images [B, C, h, w] in [0, 1], two or more.

    Raises:
        IsnetError: Kind "config": the network has no such form, or no Grad-CAM at all.
    """
    try:
        expected = gradcam.grad_cam(net, pixels, "predicted").maps[:, 0, 0]
        layer = last_layer(net)
    except (MethodError, ValueError) as error:
        raise _no_map(str(error)) from error
    with torch.no_grad(), gradcam.watched(net) as maps:
        logits = net(pixels)
    A = maps.features
    if A is None or not isinstance(layer, nn.Linear) or layer.weight.shape[1] % A.shape[1]:
        raise _no_map("its last layer does not take its last feature map")
    cells = layer.weight.detach().reshape(layer.weight.shape[0], A.shape[1], -1)  # of a pooling
    camera = Camera(cells.sum(2) / (A.shape[2] * A.shape[3]))
    found = camera.look(A, logits, (pixels.shape[2], pixels.shape[3]))
    if (found - expected).abs().max() > _NEAR * expected.abs().max():
        raise _no_map("more than a pooling lies between its last feature map and its answer")
    return camera


def _no_map(why: str) -> IsnetError:
    return IsnetError(
        "config",
        f"--heatmap gradcam: not for this network: {why}",
        fix="leave --heatmap away; isnet heatmap RUN --method gradcam draws maps with torch",
    )


def export_network(net: Answer | Lungs, pixels: Tensor) -> onnx.ModelProto:
    """The graph of a network: ``pixels`` [batch, C, h, w] to its outputs.

    Args:
        net: In evaluation mode, on the CPU.
        pixels: An example [B, C, h, w], B >= 2; its size is that of the graph.

    Raises:
        IsnetError: Kind "config": an operation of the network cannot be exported.
    """
    try:
        with _quiet():
            program = torch.onnx.export(
                net, (pixels,), dynamo=True, opset_version=OPSET, verbose=False,
                input_names=[PIXELS], output_names=list(net.outputs),
                dynamic_shapes={PIXELS: {0: torch.export.Dim("batch")}},
            )  # fmt: skip
    except Exception as error:  # of the exporter: it has many
        raise IsnetError(
            "config",
            "--onnx: torch cannot write this network as a graph: an operation of it depends on"
            " what the image shows",
            fix="isnet predict IMAGES --model RUN works with every network",
        ) from error
    if program is None:
        raise TypeError("torch.onnx.export gave no program")
    model: onnx.ModelProto = program.model_proto
    return model


def join(
    parts: Mapping[str, onnx.ModelProto], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    """Several graphs as one: what one gives under a name, those after it read under the same.

    Args:
        parts: In order of computation; their keys begin the names of all inner values.
        inputs: Names of the whole's inputs.
        outputs: Names of the whole's outputs.
    """
    import onnx

    graph, version = onnx.GraphProto(name="isnet"), 0
    opsets: dict[str, int] = {}
    functions: list[onnx.FunctionProto] = []
    ends: dict[str, onnx.ValueInfoProto] = {}
    for name, part in parts.items():
        inner = _prefixed(part, name)
        graph.node.extend(inner.graph.node)
        graph.initializer.extend(inner.graph.initializer)
        ends = {**{e.name: e for e in (*inner.graph.input, *inner.graph.output)}, **ends}
        opsets |= {entry.domain: entry.version for entry in inner.opset_import}
        functions += list(inner.functions)
        version = max(version, inner.ir_version)
    graph.input.extend(ends[name] for name in inputs)
    graph.output.extend(ends[name] for name in outputs)
    imports = [onnx.helper.make_opsetid(domain, number) for domain, number in opsets.items()]
    return onnx.helper.make_model(
        graph, opset_imports=imports, functions=functions, ir_version=version
    )


def _prefixed(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy whose inner names begin with `name`; those of inputs and outputs stay."""
    import onnx.compose

    kept = {entry.name for entry in (*model.graph.input, *model.graph.output)}
    found = onnx.compose.add_prefix(model, f"{name}/")
    _rename(found.graph, {f"{name}/{one}": one for one in kept})
    return found


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for place in (node.input, node.output):
            place[:] = [names.get(one, one) for one in place]
    for entry in (*graph.input, *graph.output, *graph.value_info):
        entry.name = names.get(entry.name, entry.name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's chatter from the terminal."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
