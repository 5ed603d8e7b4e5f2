"""Mixed masking: images whole, without background or with another one, and one answer for all.

Source: ActDiff of Viviano et al., "Saliency is a possible red herring when diagnosing poor
generalization", ICLR 2021, arXiv 1910.00199, which holds the features of an image and of its masked
view together; here it is the logits.
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
from isnet_models.divergence import average_where, measure_disagreement
from isnet_models.methods.base import Addition, Batch, Losses
from isnet_models.methods.settings import MaskedMixSettings


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
    form = 2  # 1 left a third of the images whole, whose backgrounds went on telling the class

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """The inner method's losses and "consistency"; without gradient mode the inner's alone."""
        if not torch.is_grad_enabled():
            return self.trained.losses(net, batch, epoch)
        changed, which = self.mixed(batch)
        found = self.trained.losses(net, changed, epoch)
        parts = {**found.parts, "mixed": which.float().mean()}
        if self.settings.consistency_weight == 0:
            return replace(found, parts=parts)
        whole = self.logits(net, batch.images)
        apart = measure_disagreement(whole, found.logits, several=batch.labels.dim() == 2)
        held = average_where(apart, which.to(apart.device))
        total = found.total + self.settings.consistency_weight * held
        return replace(found, total=total, parts={**parts, "consistency": held.detach()})

    def mixed(self, batch: Batch) -> tuple[Batch, Tensor]:
        """The batch with changed images, and which images they are (bool [B], on the CPU).

        An image without a usable mask stays whole; so does one that finds no partner.
        """
        s, g = self.settings, self.generator
        draw = torch.rand(len(batch.images), generator=g)
        usable = usable_masks(batch.masks)
        partners = draw_partners(batch.masks, batch.labels, "any", g)
        bare = (draw < s.removed) & usable
        new = (draw >= s.removed) & (draw < s.removed + s.replaced) & usable & (partners >= 0)
        images = batch.images.clone()
        if bare.any():
            at = bare.nonzero()[:, 0]
            images[at] = filled(batch.images[at], batch.masks[at], s.fill, s.feather, g)
        if new.any():
            at, theirs = new.nonzero()[:, 0], partners[new]
            images[at] = transplant(
                batch.images[at], batch.masks[at], batch.images[theirs], batch.masks[theirs],
                feather=s.feather,
            )  # fmt: skip
        return replace(batch, images=images), bare | new
