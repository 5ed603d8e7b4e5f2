"""Mixed masking: images whole, without background or with another one, and one answer for all.

Source: ActDiff of Viviano et al., "Saliency is a possible red herring when diagnosing poor
generalization", ICLR 2021, arXiv 1910.00199, which holds the features of an image and of its masked
view together; here it is the logits.
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
from isnet_models.divergence import average_where, measure_disagreement
from isnet_models.methods.base import Addition, Batch, Losses
from isnet_models.methods.settings import MaskedMixSettings
from isnet_models.ranks import count_images, join_shares, take_share


class MaskedMix(Addition):
    """An addition: the inner method trains on changed images, and answers are held together.

    loss = inner(changed images) + consistency_weight · mean over changed images of the symmetric
    divergence between the answers to the whole and to the changed image. That takes a second
    forward pass, of the whole images; with `consistency_weight` 0 there is none.

    Args:
        settings: A `MaskedMixSettings`.
        context: As every method's; only its `autocast` is used.
        inner: The method that sees the changed images.

    Raises:
        ValueError: No inner method.
    """

    Settings = MaskedMixSettings
    shares = True
    form = 2  # 1 left a third of the images whole, whose backgrounds went on telling the class

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """The inner method's losses and "consistency"; without gradient mode the inner's alone."""
        if not torch.is_grad_enabled():
            return self.trained.losses(net, batch, epoch)
        changed, which = self.mixed(batch)
        found = self.trained.losses(net, changed, epoch)
        parts = {**found.parts, "mixed": join_shares(which.float()).mean()}
        if self.settings.consistency_weight == 0:
            return replace(found, parts=parts)
        whole = self.logits(net, batch.images)
        apart = measure_disagreement(whole, found.logits, several=batch.labels.dim() == 2)
        held = average_where(join_shares(apart), join_shares(which))
        total = found.total + self.settings.consistency_weight * held
        return replace(found, total=total, parts={**parts, "consistency": held.detach()})

    def mixed(self, batch: Batch) -> tuple[Batch, Tensor]:
        """The batch with changed images, and which images they are (bool [B]).

        An image without a usable mask stays whole; so does one that finds no partner. With noise
        the host waits for the device: it draws for the bare images alone.
        """
        s, g, masks, images = self.settings, self.generator, batch.masks, batch.images
        chance = torch.rand(count_images(masks), generator=g)
        all_images, all_masks = join_shares(images), join_shares(masks)
        partners = take_share(draw_partners(all_masks, join_shares(batch.labels), "any", g))
        usable, noise = find_usable_masks(masks), None
        paired = usable & (partners >= 0)
        removed = chance < s.removed
        replaced = (chance >= s.removed) & (chance < s.removed + s.replaced)
        if s.fill == "noise":
            removed = removed & join_shares(usable).cpu()
            noise = draw_noise(removed, (images.shape[2], images.shape[3]), g)
        at = select_images(removed, masks.device)
        if len(at):
            bare = filled(batch.images[at], masks[at], s.fill, s.feather, noise)
            images = replace_images(images, at, bare, usable)
        at = select_images(replaced, masks.device)
        if len(at):
            theirs = partners[at].clamp(min=0)
            other = transplant(
                batch.images[at], masks[at], all_images[theirs], all_masks[theirs],
                feather=s.feather,
            )  # fmt: skip
            images = replace_images(images, at, other, paired)
        was_bared, was_replaced = (
            take_share(d).to(masks.device, non_blocking=True) for d in (removed, replaced)
        )
        return replace(batch, images=images), (was_bared & usable) | (was_replaced & paired)
