"""The small networks of the golden cases, rebuilt with torchvision's own blocks and names."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.densenet import _DenseBlock
from torchvision.models.resnet import BasicBlock, Bottleneck

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
needs_golden = pytest.mark.skipif(
    not (GOLDEN / "manifest.json").is_file(),
    reason="the golden numbers are not beside the checkout",
)


def load_case(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and arrays of one golden case."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return json.loads((GOLDEN / f"{name}.json").read_text()), dict(arrays)


def _conv_norm(in_planes: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_planes, out, 1, stride, bias=False), nn.BatchNorm2d(out))


class SmallResNet(nn.Module):
    """conv1 - bn1 - relu - maxpool - layer1..4 - pool - fc with free widths."""

    def __init__(
        self, stem: int, block: Any, planes: list[int], blocks: list[int], pool: nn.Module, K: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = pool
        width = stem
        for i, (p, n) in enumerate(zip(planes, blocks, strict=True)):
            layers = []
            for j in range(n):
                stride = 2 if i > 0 and j == 0 else 1
                out = p * block.expansion
                down = _conv_norm(width, out, stride) if stride != 1 or width != out else None
                layers.append(block(width, p, stride, down))
                width = out
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(width, K)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class SmallDenseNet(nn.Module):
    """The reference's variant: an extra ReLU after each transition's convolution."""

    def __init__(self, growth: int, blocks: list[int], init: int, bn_size: int, K: int) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = [
            ("conv0", nn.Conv2d(3, init, 7, 2, 3, bias=False)),
            ("norm0", nn.BatchNorm2d(init)),
            ("relu0", nn.ReLU(inplace=True)),
            ("pool0", nn.MaxPool2d(3, 2, 1)),
        ]
        width = init
        for i, n in enumerate(blocks):
            layers.append((f"denseblock{i + 1}", _DenseBlock(n, width, bn_size, growth, 0.0)))
            width += n * growth
            if i < len(blocks) - 1:
                transition = OrderedDict(
                    norm=nn.BatchNorm2d(width), relu=nn.ReLU(),
                    conv=nn.Conv2d(width, width // 2, 1, bias=False), relu2=nn.ReLU(),
                    pool=nn.AvgPool2d(2, 2),
                )  # fmt: skip
                layers.append((f"transition{i + 1}", nn.Sequential(transition)))
                width //= 2
        layers.append(("norm5", nn.BatchNorm2d(width)))
        self.features = nn.Sequential(OrderedDict(layers))
        self.classifier = nn.Linear(width, K)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.features(x))
        return self.classifier(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def _layer(text: str) -> nn.Module:
    found = re.match(r"\d+ (\w+)(?:\((.*)\))?", text)
    assert found is not None
    kind, parts = found[1], [p.strip() for p in (found[2] or "").split(",") if p.strip()]
    numbers = [int(p) for p in parts if p.isdigit()]
    named = {p[0]: int(p[1:]) for p in parts if re.fullmatch(r"[ksp]\d+", p)}
    if kind == "Conv2d":
        k, s, p = named["k"], named.get("s", 1), named.get("p", 0)
        return nn.Conv2d(*numbers, k, s, p, bias="no bias" not in parts)
    return getattr(nn, kind)(*numbers)


class SmallVGG(nn.Module):
    """features - adaptive average pool - flatten - classifier."""

    def __init__(self, features: list[str], classifier: list[str]) -> None:
        super().__init__()
        self.features = nn.Sequential(*[_layer(text) for text in features])
        self.classifier = nn.Sequential(*[_layer(text) for text in classifier])

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), 2)
        return self.classifier(x.flatten(1))


def build(name: str, case: dict[str, Any], arrays: dict[str, np.ndarray]) -> nn.Module:
    """The network of a heat-map case with its weights, float64, eval mode."""
    d = case["description"]
    net: nn.Module
    if "layers" in d:
        net = nn.Sequential(*[_layer(text) for text in d["layers"]])
    elif "features" in d:
        net = SmallVGG(d["features"], d["classifier"])
    elif name.startswith("densenet"):
        net = SmallDenseNet(d["growth"], d["blocks"], d["init"], d["bn_size"], d["classes"])
    else:
        pool = nn.MaxPool2d(3, 2, 1) if "k3" in d["maxpool"] else nn.MaxPool2d(2, 2)
        block = Bottleneck if "bottleneck" in d.get("block", "basic") else BasicBlock
        stem, planes = d.get("stem", 64), d.get("planes", [64, 128, 256, 512])
        net = SmallResNet(stem, block, planes, d.get("blocks", [2, 2, 2, 2]), pool, d["classes"])
    state = {k[6:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("param/")}
    for k, v in arrays.items():
        if k.startswith("paramq/"):
            state[k[7:]] = torch.from_numpy(v).double() * case["arrays"][k]["scale"]
    net = net.double().eval()
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    return net
