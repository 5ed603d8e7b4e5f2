"""Random backgrounds: in each step some images get another image's background, or none at all.

Sources: Mixed-Rand of Xiao et al., "Noise or Signal: The Role of Image Backgrounds in Object
Recognition", arXiv 2006.09994; BackMix of Bransby et al., arXiv 2406.19148, which swaps within the
batch.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from isnet_models.backgrounds import (
    draw_partners,
    filled,
    transplant,
    usable_masks,
)
from isnet_models.methods.base import Addition, Batch, Losses
from isnet_models.methods.settings import BackgroundMixSettings


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
