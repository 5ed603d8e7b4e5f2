"""Random backgrounds: in each step some images get another image's background, or none at all.

Sources: Mixed-Rand of Xiao et al., "Noise or Signal: The Role of Image Backgrounds in Object
Recognition", arXiv 2006.09994; BackMix of Bransby et al., arXiv 2406.19148, which swaps within the
batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from isnet_models.backgrounds import (
    FEATHER,
    Fill,
    Partner,
    draw_partners,
    filled,
    transplant,
    usable_masks,
)
from isnet_models.methods.base import Addition, Batch, Losses


@dataclass(frozen=True)
class BackgroundMixSettings:
    """Settings of `BackgroundMix`.

    Attributes:
        share: Chance of each image with a mask to be changed in a step, 0 to 1.
        fill: What takes the background's place: another image's (``image``), ``black``, ``noise``
            (uniform in [0, 1]), or its own, blurred (``blur``).
        partner: Whose background: of ``any`` other image of the batch, one of the ``same`` class,
            or one of an``other``.
        feather: Width of the seam as a share of the shorter side, 0 to 0.25.
        brightness: Whether the partner's image is made as bright as the image beside the seam.
    """

    share: float = 1.0
    fill: Fill = "image"
    partner: Partner = "any"
    feather: float = FEATHER
    brightness: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: found {self.share:g}, expected 0 to 1")
        if not 0 <= self.feather <= 0.25:
            raise ValueError(f"feather: found {self.feather:g}, expected 0 to 0.25")


class BackgroundMix(Addition):
    """An addition: the inner method trains on images of which some have changed backgrounds.

    Args:
        settings: A `BackgroundMixSettings`.
        context: Handed on by the registry; not used.
        inner: The method that sees the changed images.

    Raises:
        ValueError: No inner method.
    """

    Settings = BackgroundMixSettings

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """The inner method's losses; "mixed" is the changed images' share of the batch."""
        if not torch.is_grad_enabled():
            return self.trained.losses(net, batch, epoch)
        changed, which = self.mixed(batch)
        found = self.trained.losses(net, changed, epoch)
        return replace(found, parts={**found.parts, "mixed": which.float().mean()})

    def mixed(self, batch: Batch) -> tuple[Batch, Tensor]:
        """The batch with some backgrounds changed, and which images they are (bool [B], CPU).

        Lungs, masks and labels stay. An image without a usable mask, or without a partner, stays as
        it is.
        """
        s, B = self.settings, len(batch.images)
        which = torch.rand(B, generator=self.generator) < s.share
        which &= usable_masks(batch.masks)
        images = batch.images.clone()
        if s.fill == "image":
            found = draw_partners(batch.masks, batch.labels, s.partner, self.generator)
            which &= found >= 0
            chosen, theirs = which.nonzero()[:, 0], found[which]
            if len(chosen):
                images[chosen] = transplant(
                    batch.images[chosen], batch.masks[chosen],
                    batch.images[theirs], batch.masks[theirs],
                    feather=s.feather, brightness=s.brightness,
                )  # fmt: skip
        else:
            chosen = which.nonzero()[:, 0]
            if len(chosen):
                images[chosen] = filled(
                    batch.images[chosen], batch.masks[chosen], s.fill, s.feather, self.generator
                )
        return replace(batch, images=images), which
