"""The plain classifier: all other methods are compared with it."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from isnet_models.methods.base import Batch, Losses, Method


class Standard(Method):
    """Classification loss alone."""

    shares: ClassVar[bool] = True

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Cross-entropy of the batch."""
        logits = self.logits(net, batch.images)
        loss = self.classification(logits, batch.labels)
        return Losses(loss, logits, {"classification": loss.detach()})
