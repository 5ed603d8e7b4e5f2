"""AG-Sononet: a VGG-like network whose finer features are weighted by attention gates."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from isnet_models.methods.base import NetSpec
from isnet_models.methods.settings import MethodSettings, SononetSettings
from isnet_models.methods.standard import Standard

WIDTHS = (64, 128, 256, 512, 512)  # channels of the five stacks, before division
DEPTHS = (3, 3, 3, 2, 2)  # convolutions of each
FLOOR = 1e-6  # of scores above the least: an even field of scores gives even attention


class GridAttention(nn.Module):
    """Additive attention of a feature map, gated by a coarser one (Schlemper et al. 2019, eq. 1).

    q = psi ReLU(W_x x + W_g g + b) + b_psi at each position; a = (q - min q) / sum(q - min q), the
    normalisation of their section 3.2: softmax would pick few positions.

    Args:
        channels: Of the feature map.
        gate: Channels of the gating map.
    """

    def __init__(self, channels: int, gate: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels, 1, bias=False)
        self.phi = nn.Conv2d(gate, channels, 1)
        self.psi = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """Attention [B, 1, h, w], >= 0, each map's sum 1, of x [B, C, h, w] by g [B, G, h', w']."""
        gate = interpolate(self.phi(g), x.shape[-2:], mode="bilinear", align_corners=False)
        q = self.psi(torch.relu(self.theta(x) + gate)).flatten(2)
        q = q.to(torch.promote_types(q.dtype, torch.float32))
        above = q - q.amin(2, keepdim=True) + FLOOR
        # Softmax of the logarithm is division by the sum. Written so, relevance takes attention for
        # the constant that it is in every transformer.
        attention: Tensor = above.log().softmax(2).view(len(x), 1, *x.shape[-2:])
        return attention.to(x.dtype)


class Sononet(nn.Module):
    """SonoNet with two attention gates, on the third and fourth stack, gated by the fifth.

    Args:
        classes: K.
        channels: C of the image.
        scale: What the widths are divided by.
        dropout: Probability before the last layer.
    """

    def __init__(self, classes: int, channels: int, scale: int, dropout: float = 0.0) -> None:
        super().__init__()
        widths = [width // scale for width in WIDTHS]
        self.stacks = nn.ModuleList(map(_stack, [channels, *widths[:-1]], widths, DEPTHS))
        self.pool = nn.MaxPool2d(2)
        self.gates = nn.ModuleList(GridAttention(widths[i], widths[4]) for i in (2, 3))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(sum(widths[2:]), classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W] of 16 px or more."""
        x, levels = images, []
        for i, stack in enumerate(self.stacks):
            x = stack(self.pool(x) if i else x)
            levels.append(x)
        last = levels[4]
        seen = [
            (gate(x, last) * x).sum((2, 3)) for gate, x in zip(self.gates, levels[2:4], strict=True)
        ]
        features = torch.cat([*seen, last.mean((2, 3))], 1)
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def _stack(before: int, width: int, depth: int) -> nn.Module:
    """`depth` times convolution, BatchNorm, ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, *[width] * (depth - 1)):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        ]  # fmt: skip
    return nn.Sequential(*layers)


class AGSononet(Standard):
    """Classification loss alone on an attention-gated network (Schlemper et al. 2019)."""

    Settings: ClassVar[type[MethodSettings]] = SononetSettings

    @classmethod
    def build(cls, spec: NetSpec) -> nn.Module:
        """The untrained network."""
        settings = spec.settings or SononetSettings()
        return Sononet(spec.classes, spec.channels, settings.feature_scale, spec.dropout)
