"""Random backgrounds: in each step some images get another image's background, or none at all.

Sources: Mixed-Rand of Xiao et al., "Noise or Signal: The Role of Image Backgrounds in Object
Recognition", arXiv 2006.09994; BackMix of Bransby et al., arXiv 2406.19148, which swaps within the
batch.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from isnet_lrp.losses.map_masks import find_usable_masks
from isnet_models.backgrounds import (
    draw_partners,
    filled,
    replace_images,
    select_images,
    transplant,
)
from isnet_models.methods.base import Addition, Batch, Losses
from isnet_models.methods.settings import BackgroundMixSettings
from isnet_models.ranks import count_images, join_shares, take_share


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
    shares = True

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """The inner method's losses; "mixed" is the changed images' share of the batch."""
        if not torch.is_grad_enabled():
            return self.trained.losses(net, batch, epoch)
        changed, which = self.mixed(batch)
        found = self.trained.losses(net, changed, epoch)
        return replace(found, parts={**found.parts, "mixed": join_shares(which.float()).mean()})

    def mixed(self, batch: Batch) -> tuple[Batch, Tensor]:
        """The batch with some backgrounds changed, and which images they are (bool [B]).

        Lungs, masks and labels stay. An image without a usable mask, or without a partner, stays as
        it is. With noise the host waits for the device: it draws for the changed images alone.
        """
        s, images, masks = self.settings, batch.images, batch.masks
        chance = torch.rand(count_images(images), generator=self.generator)
        drawn = take_share(chance) < s.share
        fits = find_usable_masks(masks)
        if s.fill == "image":
            partners = draw_partners(masks, batch.labels, s.partner, self.generator)
            fits = fits & (partners >= 0)
        which = fits & drawn.to(fits.device, non_blocking=True)
        at = select_images(drawn, fits, exact=s.fill == "noise")
        if not len(at):
            return batch, which
        if s.fill == "image":
            theirs = partners[at].clamp(min=0)
            changed = transplant(
                images[at], masks[at], images[theirs], masks[theirs],
                feather=s.feather, brightness=s.brightness,
            )  # fmt: skip
        else:
            changed = filled(images[at], masks[at], s.fill, s.feather, self.generator)
        return replace(batch, images=replace_images(images, at, changed, fits)), which
