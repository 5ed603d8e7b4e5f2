"""Normalisation of images as a part of the network, so that its input stays in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Normalisation:
    """Grey levels x in [0, 1] become (x - mean) / sd, for each channel.

    Attributes:
        means: One per channel.
        sds: One per channel, > 0.
    """

    means: tuple[float, ...]
    sds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.means or len(self.means) != len(self.sds) or min(self.sds) <= 0:
            raise ValueError(
                f"normalisation: found means {list(self.means)} and standard deviations "
                f"{list(self.sds)}, expected as many of both, the latter above 0"
            )

    def of_channels(self, channels: int) -> Normalisation:
        """The same for images of another number of channels.

        Three channels become one by the mean of each constant: see `fold_channels`, which makes
        up for the difference in the first layer's weights.

        Args:
            channels: 1 or 3.

        Raises:
            ValueError: It has neither one channel nor that many.
        """
        if len(self.means) == channels:
            return self
        if len(self.means) == 1:
            return Normalisation(self.means * channels, self.sds * channels)
        if channels == 1:
            n = len(self.means)
            return Normalisation((sum(self.means) / n,), (sum(self.sds) / n,))
        raise ValueError(
            f"normalisation of {len(self.means)} channels, expected {channels} as model.channels"
        )


# Constants by name: of networks trained on ImageNet by torchvision and most of timm; by timm's
# EfficientNets and vision transformers; on X-rays by torchxrayvision, in [-1024, 1024].
NAMED: Mapping[str, Normalisation] = MappingProxyType({
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": Normalisation((0.5,), (0.5,)),
    "txv": Normalisation((0.5,), (1 / 2048,)),
})  # fmt: skip


class Normalise(nn.Module):
    """The first layer of a network: (x - mean) / sd of each channel; nothing is learnt.

    Args:
        constants: One mean and one standard deviation per channel.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, constants: Normalisation) -> None:
        super().__init__()
        # not among the weights: a model's card has them
        shape = (1, -1, 1, 1)
        self.register_buffer("mean", torch.tensor(constants.means).view(shape), persistent=False)
        self.register_buffer("sd", torch.tensor(constants.sds).view(shape), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] in [0, 1] -> as the network was trained to see them."""
        return (x - self.mean) / self.sd


class Normalised(nn.Module):
    """A classifier that takes images in [0, 1] and normalises them itself.

    Args:
        net: [B, C, H, W], normalised -> logits [B, K].
        constants: One mean and one standard deviation per channel.
    """

    def __init__(self, net: nn.Module, constants: Normalisation) -> None:
        super().__init__()
        self.normalise = Normalise(constants)
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W] in [0, 1]."""
        logits: Tensor = self.net(self.normalise(x))
        return logits
