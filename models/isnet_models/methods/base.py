"""What every training method offers: a loss of a batch, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One batch.

    Attributes:
        images: [B, C, H, W] in [0, 1].
        masks: Lungs, 0 or 1 [B, 1, H, W]; all zero where a film has no mask.
        labels: Class indices, int64 [B], or 0/1 with NaN for missing [B, K] (multi-label).
    """

    images: Tensor
    masks: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Losses:
    """Loss of one batch.

    Attributes:
        total: What is differentiated (0-d tensor).
        logits: Outputs of the forward pass [B, K].
        parts: Named figures for the log (0-d tensors without gradient).
    """

    total: Tensor
    logits: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class Method(Protocol):
    """A way to train a classifier.

    Methods inherit from it: what an epoch begins with and what it reports are empty by default.

    Attributes:
        needs_masks: Whether training films must have lung masks.
    """

    needs_masks: ClassVar[bool]

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Prepares for `epoch` (counted from 0), before its first batch.

        A continued training begins here: what a method keeps from epoch to epoch must follow
        from its settings and these two arguments alone.

        Args:
            epoch: The epoch.
            generator: All of the method's chance in this epoch (on the CPU).
        """
        return

    def figures(self, epoch: int) -> dict[str, float]:
        """What the history says of `epoch` beside the losses, by name; asked at its end."""
        return {}

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Loss of `batch` in `epoch` (counted from 0); `net` is in the mode of the caller."""
        ...


def classification_loss(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy, or mean binary cross-entropy over the labels that are known.

    Args:
        logits: [B, K].
        labels: int64 [B], or float [B, K] with NaN for missing.
        class_weights: [K]: weight of a class, or of its positives (multi-label); None: 1.
    """
    if labels.dim() == 1:
        return nn.functional.cross_entropy(logits, labels, weight=class_weights)
    known = ~torch.isnan(labels)
    each = nn.functional.binary_cross_entropy_with_logits(
        logits, torch.where(known, labels, torch.zeros_like(labels)),
        pos_weight=class_weights, reduction="none",
    )  # fmt: skip
    return torch.where(known, each, torch.zeros_like(each)).sum() / known.sum().clamp(min=1)
