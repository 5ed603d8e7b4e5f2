"""Multi-task U-Net: one encoder for lung masks and classes."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from isnet_models.divergence import average_where
from isnet_models.methods.base import Batch, Losses, Method, NetSpec
from isnet_models.methods.settings import MethodSettings, MultitaskSettings
from isnet_models.ranks import join_shares

GRID = 7  # side of the head's pooled features


class UNetWithHead(nn.Module):
    """U-Net (Ronneberger et al., arXiv:1505.04597) with a classifier at its coarsest level.

    Images of any size that can be halved depth - 1 times: an odd side is halved downwards, and the
    decoder's step gives it back its last row. The head has the form of VGG's.

    Args:
        classes: K.
        channels: C of the image.
        settings: Width, depth and head.
    """

    def __init__(self, classes: int, channels: int, settings: MultitaskSettings) -> None:
        super().__init__()
        widths = [settings.width * 2**i for i in range(settings.depth)]
        self.encoder = nn.ModuleList(map(_block, [channels, *widths[:-1]], widths))
        self.pool = nn.MaxPool2d(2)
        falling = widths[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairwise(falling))
        self.decoder = nn.ModuleList(_block(2 * width, width) for width in falling[1:])
        self.segmentation = nn.Conv2d(widths[0], 1, 1)
        hidden, p = settings.hidden, settings.dropout
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(GRID), nn.Flatten(),
            nn.Linear(widths[-1] * GRID**2, hidden), nn.ReLU(), nn.Dropout(p),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(p),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W]; the decoder does not run."""
        logits: Tensor = self.head(self._encoded(images)[-1])
        return logits

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classes [B, K] and of lung [B, 1, H, W]."""
        levels = self._encoded(images)
        logits: Tensor = self.head(levels[-1])
        x = levels.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            skip = levels.pop()
            x = block(torch.cat([skip, up(x, output_size=skip.shape[-2:])], 1))
        return logits, self.segmentation(x)

    def _encoded(self, images: Tensor) -> list[Tensor]:
        """Features of each level, fine to coarse."""
        levels = [self.encoder[0](images)]
        for block in list(self.encoder)[1:]:
            levels.append(block(self.pool(levels[-1])))
        return levels


def _block(before: int, width: int) -> nn.Module:
    """Twice convolution, BatchNorm, ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, width):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        ]  # fmt: skip
    return nn.Sequential(*layers)


class MultitaskUNet(Method):
    """(1 - P) classification + P segmentation (Bassi et al. 2024, "multi-task U-Net").

    The segmentation loss is the mean binary cross-entropy over all pixels of the images that have
    a mask; the others take part in the classification alone.
    """

    Settings: ClassVar[type[MethodSettings]] = MultitaskSettings
    shares: ClassVar[bool] = True

    @classmethod
    def build(cls, spec: NetSpec) -> nn.Module:
        """The untrained network, of the settings' width and depth.

        Raises:
            ValueError: The image is too small for the depth.
        """
        settings = spec.settings or MultitaskSettings()
        least = 2 ** (settings.depth - 1)
        if min(spec.size) < least:
            raise ValueError(
                f"a U-Net of depth {settings.depth} needs images of {least} px or more, "
                f"model.input is {list(spec.size)}"
            )
        return UNetWithHead(spec.classes, spec.channels, settings)

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Both losses of the batch."""
        assert isinstance(net, UNetWithHead)  # noqa: S101 - as `build` made it
        images, P = batch.images, self.settings.segmentation_weight
        with self.autocast(images.device):
            classes, pixels = net.both(images)
        logits = classes.to(images.dtype)
        classification = self.classification(logits, batch.labels)
        segmentation = segmentation_loss(
            join_shares(pixels.to(images.dtype)), join_shares(batch.masks)
        )
        parts = {
            "classification": classification.detach(), "segmentation": segmentation.detach()
        }  # fmt: skip
        return Losses((1 - P) * classification + P * segmentation, logits, parts)


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean binary cross-entropy over the pixels of images with a mask; 0 when none has one.

    Args:
        logits: Of lung [B, 1, H, W].
        masks: 0 or 1 [B, 1, H, W]; all zero where an image has no mask.
    """
    each = binary_cross_entropy_with_logits(logits, masks, reduction="none").mean((1, 2, 3))
    known = masks.amax((1, 2, 3)) > 0
    return average_where(each, known)
