"""The plain classifier: the yardstick of all methods."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from isnet_models.methods.base import Batch, Losses, Method, classification_loss


class Standard(Method):
    """Classification loss alone.

    Args:
        class_weights: [K] or None.
    """

    needs_masks: ClassVar[bool] = False

    def __init__(self, class_weights: Tensor | None = None) -> None:
        self.class_weights = class_weights

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Cross-entropy of the batch."""
        logits = net(batch.images)
        loss = classification_loss(logits, batch.labels, self.class_weights)
        return Losses(loss, logits, {"classification": loss.detach()})
