"""The plain classifier: the yardstick of all methods."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isnet_models.methods.base import Batch, Losses, Method, classification_loss


class Standard(Method):
    """Classification loss alone.

    Args:
        class_weights: [K] or None.
        autocast: Whether the network runs in bfloat16 where torch's autocast allows it.
    """

    needs_masks: ClassVar[bool] = False

    def __init__(self, class_weights: Tensor | None = None, *, autocast: bool = False) -> None:
        self.class_weights = class_weights
        self.autocast = autocast

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Cross-entropy of the batch."""
        device = batch.images.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.autocast):
            logits = net(batch.images)
        logits = logits.to(batch.images.dtype)
        loss = classification_loss(logits, batch.labels, self.class_weights)
        return Losses(loss, logits, {"classification": loss.detach()})
