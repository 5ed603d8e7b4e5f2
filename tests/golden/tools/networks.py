"""Networks of golden cases, from their descriptions and the shapes of their parameters.

Widths, depths, biases, bottlenecks and downsampling are read from the parameters' shapes; the words
of the description say what shapes cannot: kinds of layers, strides, paddings, poolings.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.golden.tools.folder import Case, UnknownFormError, source
from tests.golden.tools.layers import (
    Shapes,
    Words,
    convolution,
    layer,
    normalisation,
    pool_from,
    split,
    square,
    words,
)  # fmt: skip


def parameters(case: Case) -> dict[str, Tensor]:
    """Stored parameters and buffers by torch name, float64 (`paramq`: int8 codes times scale)."""
    state = {}
    for key, value in case.arrays().items():
        group, _, name = key.partition("/")
        if group == "param":
            state[name] = torch.from_numpy(value).double()
        elif group == "paramq":
            state[name] = torch.from_numpy(value).double() * float(case.facts(key)["scale"])
    return state


def build(case: Case) -> nn.Module:
    """The network of a case (or of the case it names as its source), float64, eval mode.

    Raises:
        UnknownFormError: For a description without a reading, or parameters that do not fit it.
    """
    origin = source(case)
    state = parameters(origin)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    net = _network(origin, shapes).double().eval()
    missing, unexpected = net.load_state_dict(state, strict=False)
    lost = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lost or unexpected:
        raise UnknownFormError(
            f"{origin.name}: no arrays for {lost}, no place for {list(unexpected)}"
        )
    return net


def _network(case: Case, shapes: Shapes) -> nn.Module:
    d = case.description
    if "layers" in d:
        return chain(_listed(d["layers"]), "", shapes)
    if "features" in d:
        return VGG(d, shapes)
    if isinstance(d.get("net"), str):
        return from_line(d["net"], shapes)
    if "features.denseblock1.denselayer1.norm1.weight" in shapes:
        return DenseNet(d, shapes)
    if "layer1.0.conv1.weight" in shapes:
        return ResNet(d, shapes)
    raise UnknownFormError(f"{case.name}: no reading for a network described by {sorted(d)}")


def _listed(value: Any) -> list[str]:
    return split(value, ",;") if isinstance(value, str) else list(value)


def chain(texts: list[str], prefix: str, shapes: Shapes) -> nn.Sequential:
    """Layers one after the other, named as described; a flattening before Linear is added."""
    made: OrderedDict[str, nn.Module] = OrderedDict()
    flat = "classifier" in prefix
    for i, text in enumerate(texts):
        w = words(text)
        name = (w.name or str(i)).split(".")[-1]
        if w.kind == "Linear" and not flat:
            made[f"flatten_before_{name}"] = nn.Flatten()
        flat = flat or w.kind in ("Flatten", "Linear")
        made[name] = layer(w, f"{prefix}{name}", shapes)
    return nn.Sequential(made)


class VGG(nn.Module):
    """features - adaptive average pool - flatten - classifier."""

    def __init__(self, description: dict[str, Any], shapes: Shapes) -> None:
        super().__init__()
        self.features = chain(_listed(description["features"]), "features.", shapes)
        self.avgpool = self._pool(description.get("avgpool"), shapes)
        self.classifier = chain(_listed(description["classifier"]), "classifier.", shapes)

    def _pool(self, text: str | None, shapes: Shapes) -> nn.Module:
        w = words(text) if text and re.search(r"pool2d", text, re.IGNORECASE) else None
        if w is not None and (w.numbers or w.options):
            return layer(w, "avgpool", shapes)
        if text and re.match(r"\s*(none|no\b|identity)", text.lower()):
            return nn.Identity()
        convolutions = [m for m in self.features.modules() if isinstance(m, nn.Conv2d)]
        first = next(s for k, s in shapes.items() if re.match(r"classifier.*weight", k))
        return nn.AdaptiveAvgPool2d(square(first[1], convolutions[-1].out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))  # type: ignore[no-any-return]


def from_line(text: str, shapes: Shapes) -> nn.Module:
    """A network in one line: "features: conv0 Conv2d(..) - relu0 - ..; flatten; classifier: ..".

    Parts without a name and remarks such as "eval mode" hold no layers with parameters.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for section in split(text, ";"):
        name, colon, body = section.partition(":")
        if colon:
            texts = split(body.replace(" - ", " ; "), ";,")
            parts[name.strip()] = chain(texts, f"{name.strip()}.", shapes)
        elif section.lower() == "flatten":
            parts["flatten"] = nn.Flatten()
        elif not re.fullmatch(r"(eval|train\w*) mode.*", section.lower()):
            raise UnknownFormError(f"'{section}' in the network '{text}'")
    return nn.Sequential(parts)


class Block(nn.Module):
    """Residual block: two or three convolutions with BatchNorm, a shortcut, ReLU after the sum."""

    def __init__(self, prefix: str, n_in: int, stride: int, shapes: Shapes) -> None:
        super().__init__()
        self.depth = 3 if f"{prefix}.conv3.weight" in shapes else 2
        strided = 2 if self.depth == 3 else 1  # the 3x3 of a bottleneck, the first of a basic block
        width = n_in
        for i in range(1, self.depth + 1):
            k = shapes[f"{prefix}.conv{i}.weight"][2]
            s = stride if i == strided else 1
            w = Words("", "Conv2d", options={"s": (s, s), "p": (k // 2, k // 2)})
            conv = convolution(f"{prefix}.conv{i}", shapes, w, width)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", normalisation(f"{prefix}.bn{i}", shapes))
            width = conv.out_channels
        self.width = width
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if f"{prefix}.downsample.0.weight" in shapes:
            w = Words("", "Conv2d", options={"s": (stride, stride)})
            self.downsample = nn.Sequential(
                convolution(f"{prefix}.downsample.0", shapes, w, n_in),
                normalisation(f"{prefix}.downsample.1", shapes),
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            if i < self.depth:
                x = self.relu(x)
        x += shortcut
        return self.relu(x)  # type: ignore[no-any-return]


def _count(pattern: str, shapes: Shapes) -> int:
    """How many of the names numbered by the pattern's group there are."""
    return len({found[1] for name in shapes if (found := re.match(pattern, name))})


class ResNet(nn.Module):
    """conv1 - bn1 - relu - maxpool - layer1.. - global average pool - fc."""

    def __init__(self, description: dict[str, Any], shapes: Shapes) -> None:
        super().__init__()
        self.conv1, self.bn1 = _stem("conv1", description, shapes), normalisation("bn1", shapes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = pool_from(description.get("maxpool"), "MaxPool2d", (3, 2, 1))
        width, self.stages = self.conv1.out_channels, _count(r"layer(\d+)\.", shapes)
        for i in range(1, self.stages + 1):
            blocks = []
            for j in range(_count(rf"layer{i}\.(\d+)\.", shapes)):
                stride = 2 if i > 1 and j == 0 else 1
                blocks.append(Block(f"layer{i}.{j}", width, stride, shapes))
                width = blocks[-1].width
            self.add_module(f"layer{i}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = layer("Linear", "fc", shapes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{i}")(x)
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _stem(name: str, description: dict[str, Any], shapes: Shapes) -> nn.Conv2d:
    """First convolution: stride 2 and padding k // 2 unless the description says otherwise."""
    k = shapes[f"{name}.weight"][2]
    said = f"{description.get('conv1', '')} {description.get('kind', '')}"
    found = re.search(r"conv[01]\s*\(([^)]*)\)", said)
    texts = split(found[1]) if found else []
    known = [t for t in texts if re.fullmatch(r"(s|p|stride|padding)\s*=?\s*\d+", t)]
    w = words(f"Conv2d({','.join(known)})")
    w.options = {"s": (2, 2), "p": (k // 2, k // 2), **w.options}
    return convolution(name, shapes, w)


class DenseLayer(nn.Module):
    """norm1 - relu - conv1 - norm2 - relu - conv2; its output is joined to its input."""

    def __init__(self, prefix: str, shapes: Shapes) -> None:
        super().__init__()
        k = shapes[f"{prefix}.conv2.weight"][2]
        same = Words("", "Conv2d", options={"p": (k // 2, k // 2)})
        self.norm1 = normalisation(f"{prefix}.norm1", shapes)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = convolution(f"{prefix}.conv1", shapes)
        self.norm2 = normalisation(f"{prefix}.norm2", shapes)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = convolution(f"{prefix}.conv2", shapes, same)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu1(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu2(self.norm2(y)))], 1)


class DenseNet(nn.Module):
    """features (conv0 .. norm5, final ReLU) - global average pool - classifier.

    The published variant has one more ReLU after each transition's convolution than torchvision's
    network; it is left away where the description says so.
    """

    def __init__(self, description: dict[str, Any], shapes: Shapes) -> None:
        super().__init__()
        said = str(description.get("kind", "")).lower()
        self.extra = re.search(r"(no|without)( the)?( an)? extra relu", said) is None
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["conv0"] = _stem("features.conv0", description, shapes)
        parts["norm0"] = normalisation("features.norm0", shapes)
        parts["relu0"] = nn.ReLU(inplace=True)
        parts["pool0"] = pool_from(description.get("pool0"), "MaxPool2d", (3, 2, 1))
        blocks = _count(r"features\.denseblock(\d+)\.", shapes)
        for i in range(1, blocks + 1):
            parts[f"denseblock{i}"] = self._block(f"features.denseblock{i}", shapes)
            if i < blocks:
                parts[f"transition{i}"] = self._transition(f"features.transition{i}", shapes)
        parts["norm5"] = normalisation("features.norm5", shapes)
        parts["fReLU"] = nn.ReLU(inplace=True)
        self.features = nn.Sequential(parts)
        self.classifier = layer("Linear", "classifier", shapes)

    def _block(self, prefix: str, shapes: Shapes) -> nn.Sequential:
        count = _count(rf"{re.escape(prefix)}\.denselayer(\d+)\.", shapes)
        return nn.Sequential(
            OrderedDict(
                (f"denselayer{j}", DenseLayer(f"{prefix}.denselayer{j}", shapes))
                for j in range(1, count + 1)
            )
        )

    def _transition(self, prefix: str, shapes: Shapes) -> nn.Sequential:
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["norm"] = normalisation(f"{prefix}.norm", shapes)
        parts["relu"] = nn.ReLU(inplace=True)
        parts["conv"] = convolution(f"{prefix}.conv", shapes)
        if self.extra:
            parts["relu2"] = nn.ReLU(inplace=True)
        parts["pool"] = nn.AvgPool2d(2, 2)
        return nn.Sequential(parts)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        return self.classifier(x)  # type: ignore[no-any-return]
