"""Small networks with odd choices, from torchvision's own blocks, and what describes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.densenet import _DenseBlock
from torchvision.models.resnet import BasicBlock, Bottleneck


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
                stride, out, down = 2 if i > 0 and j == 0 else 1, p * block.expansion, None
                if stride != 1 or width != out:
                    conv = nn.Conv2d(width, out, 1, stride, bias=False)
                    down = nn.Sequential(conv, nn.BatchNorm2d(out))
                layers.append(block(width, p, stride, down))
                width = out
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(width, K)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{i}")(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))  # type: ignore[no-any-return]


class SmallDenseNet(nn.Module):
    """The published variant: an extra ReLU after each transition's convolution."""

    def __init__(self, growth: int, blocks: list[int], init: int, bn_size: int, K: int) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = [
            ("conv0", nn.Conv2d(3, init, 7, 2, 3, bias=False)), ("norm0", nn.BatchNorm2d(init)),
            ("relu0", nn.ReLU(inplace=True)), ("pool0", nn.MaxPool2d(3, 2, 1)),
        ]  # fmt: skip
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
        layers += [("norm5", nn.BatchNorm2d(width)), ("fReLU", nn.ReLU())]
        self.features = nn.Sequential(OrderedDict(layers))
        self.classifier = nn.Linear(width, K)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        return self.classifier(x)  # type: ignore[no-any-return]


class SmallVGG(nn.Module):
    """features - adaptive average pool - flatten - classifier."""

    def __init__(self, features: list[nn.Module], size: Any, classifier: list[nn.Module]) -> None:
        super().__init__()
        self.features, self.avgpool = nn.Sequential(*features), nn.AdaptiveAvgPool2d(size)
        self.classifier = nn.Sequential(*classifier)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))  # type: ignore[no-any-return]


def randomise(net: nn.Module, seed: int) -> nn.Module:
    """Random weights and statistics in float64, evaluation mode; some BatchNorm weights < 0."""
    g = torch.Generator().manual_seed(seed)

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=g, dtype=torch.float64)

    net.double()
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                m.weight.copy_(normal(m.weight) * (2 / m.weight[0].numel()) ** 0.5)
                if m.bias is not None:
                    m.bias.copy_(normal(m.bias) * 0.2)
            elif isinstance(m, nn.BatchNorm2d):
                assert m.running_mean is not None
                assert m.running_var is not None
                m.weight.copy_(normal(m.weight) + 0.5)
                m.weight[0] = -m.weight[0].abs()
                m.bias.copy_(normal(m.bias) * 0.3)
                m.running_mean.copy_(normal(m.bias) * 0.2)
                m.running_var.copy_(normal(m.bias).abs() + 0.3)
    return net.eval()


@dataclass(frozen=True)
class Made:
    """A network, its description in the words of golden files, and its input's shape."""

    make: Callable[[], nn.Module]
    description: dict[str, Any]
    shape: tuple[int, int, int, int]


def _odd_sequence() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, 2, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(5, 6, 2, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(3, 2),
        nn.Identity(), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Dropout(), nn.Linear(36, 4),
    )  # fmt: skip


def _plain_sequence() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2, 1),
        nn.Conv2d(4, 5, 3, dilation=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(120, 5),
        nn.ReLU(), nn.Linear(5, 2),
    )  # fmt: skip


def _overlapping_vgg() -> nn.Module:
    features: list[nn.Module] = [
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2),
    ]  # fmt: skip
    classifier: list[nn.Module] = [nn.Linear(72, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 3)]
    return SmallVGG(features, 3, classifier)


MADE: dict[str, Made] = {
    "odd_sequence": Made(
        _odd_sequence,
        {"kind": "sequential", "layers": [
            "0 Conv2d(3,5,k3,s2,p1,bias)", "1 BatchNorm2d(5)", "2 ReLU", "3 MaxPool2d(3,2,1)",
            "4 Conv2d(5,6,k2,s1,p0,no bias)", "5 BatchNorm2d(6)", "6 ReLU", "7 AvgPool2d(k3,s2)",
            "8 Identity", "9 AdaptiveAvgPool2d(2,3)", "10 Flatten", "11 Dropout(0.5)",
            "12 Linear(36,4)",
        ]},
        (2, 3, 27, 23),
    ),
    "plain_sequence": Made(
        _plain_sequence,
        {"kind": "sequential", "layers": [
            "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))", "ReLU()",
            "AvgPool2d(3x3/2, padding=1)", "MaxPool2d(kernel_size=2, stride=1)",
            "Conv2d(4, 5, 3x3, p1, dilation=2)", "ReLU", "Flatten", "Linear(120,5)", "ReLU",
            "Linear(5,2)",
        ]},
        (2, 3, 17, 13),
    ),
    "overlapping_vgg": Made(
        _overlapping_vgg,
        {"kind": "vgg-like", "features": [
            "0 Conv2d(3,4,k3,p1)", "1 BatchNorm2d(4)", "2 ReLU", "3 MaxPool2d(2)",
            "4 Conv2d(4,8,k3,s2,p1)", "5 ReLU", "6 MaxPool2d(k3,s2)",
        ], "avgpool": "AdaptiveAvgPool2d(3,3) on 5x4 (overlapping windows)",
         "classifier": ["0 Linear(72,10)", "1 ReLU", "2 Dropout", "3 Linear(10,3)"]},
        (2, 3, 41, 37),
    ),
    "bottleneck_resnet": Made(
        lambda: SmallResNet(
            6, Bottleneck, [2, 3, 4, 5], [2, 1, 2, 1], nn.MaxPool2d(3, 2, 1), 3
        ),
        {"kind": "resnet", "block": "bottleneck", "maxpool": "k3 s2 p1 (overlapping windows)"},
        (2, 3, 57, 45),
    ),
    "basic_resnet": Made(
        lambda: SmallResNet(5, BasicBlock, [7, 7, 8, 9], [1, 2, 1, 1], nn.MaxPool2d(2, 2), 3),
        {"kind": "resnet", "block": "basic", "maxpool": "2x2"},
        (2, 3, 45, 38),
    ),
    "long_densenet": Made(
        lambda: SmallDenseNet(3, [2, 11, 2], 6, 2, 3),
        {"kind": "densenet (an extra ReLU after every transition's convolution)"},
        (2, 3, 57, 45),
    ),
}  # fmt: skip
