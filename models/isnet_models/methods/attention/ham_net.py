"""The network of hierarchical attention mining, around a convolutional backbone.

Source: Ouyang et al., IEEE Transactions on Medical Imaging 40:2698 (2021), arXiv 2112.12349, and
the facts of their public code; foreground attention, log-sum-exp pooling, class activation maps.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet, ResNet

from isnet_lrp.losses.map_masks import disable_autocast
from isnet_models.backbones import SmallResNet

HEAD_CHANNELS = 512
SHARPNESS = 6.0  # r of the log-sum-exp: 0 is the mean, infinity the maximum


@dataclass(frozen=True)
class Attention:
    """What one forward pass gives.

    Attributes:
        logits: Classes [B, K].
        abnormality: Logit of "anything is there" [B].
        class_maps: Class activation maps [B, K, h, w], >= 0.
        abnormality_map: That of the abnormality [B, 1, h, w], >= 0.
    """

    logits: Tensor
    abnormality: Tensor
    class_maps: Tensor
    abnormality_map: Tensor


class ForegroundAttention(nn.Module):
    """Adds to a map what its channel gate and its position gate let through.

    The channel gate follows from one vector per image, the mean over positions weighted by a learnt
    softmax; the gain of what is added starts at 0.

    Args:
        channels: C of the map [B, C, h, w].
        reduction: Divides C inside the channel gate.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.where = nn.Conv2d(channels, 1, 1, bias=False)
        self.channel_gate = nn.Sequential(
            nn.Linear(channels, inner, bias=False), nn.ReLU(),
            nn.Linear(inner, channels, bias=False), nn.Sigmoid(),
        )  # fmt: skip
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.position_gate = nn.Sequential(
            nn.Conv2d(channels, 1, 1, bias=False), nn.Conv2d(1, 1, 3, padding=1, bias=False),
            nn.BatchNorm2d(1), nn.Sigmoid(),
        )  # fmt: skip
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> the same."""
        share = self.where(x).flatten(2).softmax(2)
        seen = (x.flatten(2) * share).sum(2)
        gated = self.mix(x) * self.channel_gate(seen)[:, :, None, None]
        return x + self.gain * (gated * self.position_gate(gated))  # type: ignore[no-any-return]


class HAMNet(nn.Module):
    """Backbone, foreground attention beside it, one head of features, two linear readings.

    Args:
        features: Backbone [B, C_in, H, W] -> [B, channels, h, w].
        channels: Of the backbone's map.
        classes: Number of outputs K.
        dropout: Probability that a channel of the head is left out.
    """

    def __init__(self, features: nn.Module, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        inner, width = max(channels // 4, 1), min(HEAD_CHANNELS, channels)
        self.features = features
        self.foreground = nn.Sequential(
            nn.Conv2d(channels, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner),
            ForegroundAttention(inner),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Conv2d(channels + inner, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
            nn.ReLU(), nn.Dropout2d(dropout),
        )  # fmt: skip
        self.abnormality = nn.Linear(width, 1, bias=False)
        self.classes = nn.Linear(width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W]."""
        return self.classes(log_sum_exp(self._map(x)))  # type: ignore[no-any-return]

    def attention(self, x: Tensor) -> Attention:
        """Logits and maps of images; the maps take the last layers' weights as constants."""
        F = self._map(x)
        pooled = log_sum_exp(F)
        return Attention(
            self.classes(pooled), self.abnormality(pooled)[:, 0],
            activation_maps(F, self.classes.weight), activation_maps(F, self.abnormality.weight),
        )  # fmt: skip

    def _map(self, x: Tensor) -> Tensor:
        deep = self.features(x)
        return self.head(torch.cat([deep, self.foreground(deep)], 1))  # type: ignore[no-any-return]


def log_sum_exp(maps: Tensor, r: float = SHARPNESS) -> Tensor:
    """Pooling between mean and maximum [B, C]: 1/r · ln(mean over positions of exp(r·F)).

    Written as sum_p w_p F_p + constant with w = softmax(r·F) a constant: the same value, and the
    same first derivative, which is w. Relevance then passes as through any weighted mean.

    Args:
        maps: F [B, C, h, w].
        r: > 0.
    """
    F = maps.flatten(2)
    with torch.no_grad():
        value = (torch.logsumexp(r * F, 2) - math.log(F.shape[2])) / r
        share = (r * F).softmax(2)
        rest = value - (share * F).sum(2)
    return (share * F).sum(2) + rest


def activation_maps(maps: Tensor, weight: Tensor) -> Tensor:
    """ReLU(sum_c w_kc F_c) [B, K, h, w], at least in float32; w is a constant.

    Args:
        maps: F [B, C, h, w].
        weight: w [K, C].
    """
    wide = torch.promote_types(maps.dtype, torch.float32)
    with disable_autocast(maps.device):
        return torch.einsum("kc,bchw->bkhw", weight.detach().to(wide), maps.to(wide)).relu()


def feature_extractor(net: nn.Module) -> tuple[nn.Module, int] | None:
    """The part of a backbone before its final pooling, and the channels of its map.

    Returns:
        None for backbones other than `SmallResNet` and torchvision's ResNet and DenseNet.
    """
    if isinstance(net, SmallResNet):
        return nn.Sequential(OrderedDict(stem=net.stem, stages=net.stages)), net.fc.in_features
    if isinstance(net, ResNet):
        parts = OrderedDict(
            (name, part) for name, part in net.named_children() if name not in ("avgpool", "fc")
        )
        return nn.Sequential(parts), net.fc.in_features
    if isinstance(net, DenseNet):
        final = nn.ReLU()  # torchvision's is a function
        return nn.Sequential(*net.features, final), net.classifier.in_features
    return None
