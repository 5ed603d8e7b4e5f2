"""Right for the right reasons: input gradients outside the lungs are penalised.

Source: Ross, Hughes and Doshi-Velez, IJCAI 2017 (arXiv 1703.03717).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from isnet_lrp.losses.map_masks import find_usable_masks
from isnet_models.divergence import average_where
from isnet_models.methods.base import Batch, Losses, Method
from isnet_models.methods.settings import RRRSettings
from isnet_models.ranks import count_images, join_shares


class RRR(Method):
    """Classification loss, and the squared input gradient outside the lungs.

    L = L_class + gradient_weight · mean_b sum_(c,h,w) [(1 - M) · d/dx sum_k ln p_k]². p is the
    softmax, or with several labels the sigmoid of each. The forward pass is in the images' type:
    half precision would turn a gradient of gradients. The derivative is the plain one: BatchNorm in
    training mode mixes a little of the other images into it.
    """

    Settings = RRRSettings
    shares = True

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Loss of the batch.

        Images whose mask is empty or full take part in the classification alone; "mapped" is the
        others' share of the batch.
        """
        s: RRRSettings = self.settings
        training = torch.is_grad_enabled()
        images = batch.images.detach().requires_grad_()
        with torch.enable_grad():
            logits = net(images)
            summed = log_probabilities(logits, batch.labels).sum()
            if s.per_batch:
                summed = summed / count_images(images)
            (slope,) = torch.autograd.grad(summed, images, create_graph=training, retain_graph=True)
        logits = logits if training else logits.detach()
        masks = join_shares(batch.masks)
        counts = find_usable_masks(masks)
        penalty = outside(join_shares(slope), masks, counts)
        classification = self.classification(logits, batch.labels)
        parts = {
            "classification": classification.detach(),
            "gradient": penalty.detach(),
            "mapped": counts.sum() / len(counts),
        }
        return Losses(classification + s.gradient_weight * penalty, logits, parts)


def log_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Logarithms of all classes' probabilities [B, K]: of the softmax, or of each label's sigmoid.

    Args:
        logits: [B, K].
        labels: [B] or [B, K]; only the shape matters.
    """
    return logits.log_softmax(1) if labels.dim() == 1 else logsigmoid(logits)


def outside(slope: Tensor, masks: Tensor, counts: Tensor) -> Tensor:
    """Mean over the images that count of the sum of squares outside the lungs; 0 where none does.

    Args:
        slope: [B, C, H, W]; NaN and infinities are taken for 0, without gradient.
        masks: Lungs, 0 or 1 [B, 1, H, W].
        counts: Bool [B].
    """
    away = torch.isfinite(slope) & (masks == 0)
    each = torch.where(away, slope, 0.0).square().sum(dim=(1, 2, 3))
    return average_where(each, counts)
