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
    draw_noise,
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
        drawn = torch.rand(count_images(images), generator=self.generator) < s.share
        fits, noise = find_usable_masks(masks), None
        if s.fill == "image":
            all_images, all_masks = join_shares(images), join_shares(masks)
            partners = take_share(
                draw_partners(all_masks, join_shares(batch.labels), s.partner, self.generator)
            )
            fits = fits & (partners >= 0)
        which = fits & take_share(drawn).to(fits.device, non_blocking=True)
        if s.fill == "noise":
            drawn = drawn & join_shares(fits).cpu()
            noise = draw_noise(drawn, (images.shape[2], images.shape[3]), self.generator)
        at = select_images(drawn, fits.device)
        if not len(at):
            return batch, which
        if s.fill == "image":
            theirs = partners[at].clamp(min=0)
            changed = transplant(
                images[at], masks[at], all_images[theirs], all_masks[theirs],
                feather=s.feather, brightness=s.brightness,
            )  # fmt: skip
        else:
            changed = filled(images[at], masks[at], s.fill, s.feather, noise)
        return replace(batch, images=replace_images(images, at, changed, fits)), which
