"""Extended GAIN: Grad-CAM is held to the lungs while the classifier is trained.

Source: Li et al., Tell Me Where to Look: Guided Attention Inference Network, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from isnet_lrp.losses.map_masks import find_usable_masks
from isnet_models.explanations.gradcam import class_map, enlarged, feature_map, watched
from isnet_models.methods.base import Batch, Losses, Method
from isnet_models.methods.settings import GAINSettings
from isnet_models.ranks import join_shares

TINY = 1e-5  # beside the number of present labels, as published


class GAIN(Method):
    """L = L_class + mining_weight · L_mining + attention_weight · L_lungs.

    L_mining is the probability that is left of a present class once the image is hidden where the
    class's map is large; L_lungs is the mean squared distance of the maps to the lung mask.
    """

    Settings = GAINSettings
    shares = True

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Loss of the batch; the network runs twice.

        Images whose mask is empty or full take no part in L_lungs ("attention"), but in attention
        mining, which needs no mask; "mapped" is the others' share of the batch.

        Raises:
            ValueError: The network has no convolutional feature map.
        """
        s: GAINSettings = self.settings
        training, one_label = torch.is_grad_enabled(), batch.labels.dim() == 1
        logits, maps = self.maps(net, batch.images)
        if not training:
            logits, maps = logits.detach(), maps.detach()
        present = present_classes(logits, batch.labels)
        counts = find_usable_masks(batch.masks)
        held = torch.ones_like(present) if s.every_class else present
        attention = distance(maps, batch.masks, held & counts[:, None], one_label)
        mining = self.mining(net, batch.images, maps, batch.labels)
        classification = self.classification(logits, batch.labels)
        parts = {
            "classification": classification.detach(),
            "attention_mining": mining.detach(),
            "attention": attention.detach(),
            "mapped": join_shares(counts.float()).mean(),
        }
        return Losses(
            classification + s.mining_weight * mining + s.attention_weight * attention,
            logits,
            parts,
        )

    def maps(self, net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and the classes' Grad-CAM maps [B, K, H, W], differentiable in both modes.

        The channels' weights are constants.

        Raises:
            MethodError: As `feature_map`.
        """
        with torch.enable_grad(), watched(net) as seen:
            logits = self.logits(net, images)
        with torch.enable_grad():
            A = feature_map(seen)
            maps = torch.cat([class_map(y, A) for y in logits.unbind(1)], 1)
            return logits, enlarged(maps if self.settings.signed else maps.relu(), images)

    def mining(self, net: nn.Module, images: Tensor, maps: Tensor, labels: Tensor) -> Tensor:
        """Mean probability of the present classes once their regions are hidden; 0 without any.

        Of several labels as many images run through the network as there are present classes, and
        the host waits for the device to know how many.

        Args:
            net: The classifier.
            images: [B, C, H, W].
            maps: [B, K, H, W].
            labels: As `present_classes`; a softmax of one label, else each label's sigmoid.
        """
        s: GAINSettings = self.settings
        one_label = labels.dim() == 1
        if one_label:
            which, classes = torch.arange(len(labels), device=labels.device), labels
        else:
            which, classes = (labels == 1).nonzero(as_tuple=True)
            present = join_shares(labels == 1)
            count = int(present.sum())
            if not count:
                return maps.sum() * 0
        T = torch.sigmoid(s.sharpness * (maps[which, classes] - s.threshold))[:, None].to(
            images.dtype
        )
        hidden, own = images[which] * (1 - T), len(which)
        if not one_label and own == count == 1 < len(present):
            hidden = hidden.expand(2, -1, -1, -1)  # BatchNorm cannot train on one image
        with kept_statistics(net):
            left = self.logits(net, hidden)[:own]
        p = left.softmax(1) if one_label else left.sigmoid()
        each = p.gather(1, classes[:, None])[:, 0]
        if one_label:
            return join_shares(each).mean()
        table = p.new_zeros(len(labels), p.shape[1]).index_put((which, classes), each)
        return join_shares(table)[present].mean()


def present_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """Which classes an image has, bool [B, K]; a label that is missing counts as absent.

    Args:
        logits: [B, K].
        labels: int64 [B], or float [B, K] with NaN for missing.
    """
    if labels.dim() == 2:
        return labels == 1
    return labels[:, None] == torch.arange(logits.shape[1], device=logits.device)


def distance(maps: Tensor, masks: Tensor, held: Tensor, one_label: bool) -> Tensor:
    """Mean squared distance to the lungs, over pixels and over the maps that are held.

    Of several labels the sum is divided by their number and 1e-5, as published.

    Args:
        maps: [B, K, H, W].
        masks: Lungs, 0 or 1 [B, 1, H, W].
        held: Bool [B, K].
        one_label: Whether an image has one class.
    """
    each = join_shares((maps - masks.to(maps.dtype)).square().mean(dim=(2, 3)))
    held = join_shares(held)
    n = held.sum().to(each.dtype)
    return torch.where(held, each, 0.0).sum() / (n.clamp(min=1) if one_label else n + TINY)


@contextmanager
def kept_statistics(net: nn.Module) -> Iterator[None]:
    """Hidden images leave BatchNorm's running statistics, which are those of images, alone."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [m.momentum for m in norms]
    try:
        for m in norms:
            m.momentum = 0.0
        yield
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
