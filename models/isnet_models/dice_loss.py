"""Dice and the segmentation loss: soft Dice plus binary cross-entropy.

Soft Dice: Milletari et al., "V-Net" (arXiv:1606.04797), with sums instead of squares.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTHING = 1.0  # px, added above and below: images without lung have a gradient too


def dice_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of BCE + 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1).

    Args:
        logits: [B, 1, H, W].
        target: [B, 1, H, W], share of foreground per pixel, 0 to 1.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target)
    p = torch.sigmoid(logits)
    overlap = (p * target).flatten(1).sum(1)
    total = (p + target).flatten(1).sum(1)
    return cross_entropy + (1 - (2 * overlap + SMOOTHING) / (total + SMOOTHING)).mean()


def dice(found: Tensor, true: Tensor) -> Tensor:
    """Dice 2 |A and B| / (|A| + |B|) of each mask [B]; 1 where both are empty.

    Args:
        found: [B, ...], bool.
        true: [B, ...], bool.
    """
    a, b = found.flatten(1), true.flatten(1)
    total = a.sum(1) + b.sum(1)
    overlap = 2 * (a & b).sum(1)
    return torch.where(total > 0, overlap / total.clamp(min=1), 1.0)
