"""The ISNet: classification loss and heat-map loss, (1-P)·L_class + P·L_heat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from isnet_models.heatmap_loss import HeatmapLossSettings, heatmap_loss
from isnet_models.lrp import relevance
from isnet_models.methods.base import Batch, Losses, Method, classification_loss


@dataclass(frozen=True)
class ISNetSettings:
    """Settings of the ISNet (Bassi et al. 2024; Faster ISNet 2024).

    Attributes:
        weight: P as {first epoch: P}; the entry with the largest key <= epoch applies; key 0
            must exist; 0 <= P <= 1.
        target: What the maps explain: "all" logits (original), "selective", "stochastic".
        epsilon: LRP's stabiliser.
        zb: Whether the first layer has the zB rule for pixels in [0, 1].
        delta: Offset of the selective target.
        probability: Of the predicted class in the stochastic target.
        loss: Constants of the heat-map loss.
    """

    weight: dict[int, float] = field(default_factory=lambda: {0: 0.7})
    target: Literal["all", "selective", "stochastic"] = "selective"
    epsilon: float = 0.01
    zb: bool = True
    delta: float = 0.01
    probability: float = 0.5
    loss: HeatmapLossSettings = field(default_factory=HeatmapLossSettings)


class ISNet(Method):
    """Penalises relevance outside the lungs while it trains the classifier.

    Args:
        settings: Settings.
        class_weights: [K] or None.
        generator: Random source of the stochastic target (on the CPU).
    """

    needs_masks: ClassVar[bool] = True

    def __init__(
        self,
        settings: ISNetSettings,
        class_weights: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.settings = settings
        self.class_weights = class_weights
        self.generator = generator

    def heatmap_weight(self, epoch: int) -> float:
        """P in `epoch`."""
        return self.settings.weight[max(e for e in self.settings.weight if e <= epoch)]

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Takes the epoch's chance for the stochastic target."""
        self.generator = generator

    def figures(self, epoch: int) -> dict[str, float]:
        """P of the epoch."""
        return {"heatmap_weight": self.heatmap_weight(epoch)}

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """(1-P)·classification + P·heat-map loss of the batch."""
        s, P = self.settings, self.heatmap_weight(epoch)
        result = relevance(
            net, batch.images, s.target, epsilon=s.epsilon, zb=(0.0, 1.0) if s.zb else None,
            create_graph=torch.is_grad_enabled(), delta=s.delta, probability=s.probability,
            generator=self.generator,
        )  # fmt: skip
        heat = heatmap_loss(result.maps, batch.masks, s.loss)
        classification = classification_loss(result.logits, batch.labels, self.class_weights)
        parts = {
            "classification": classification.detach(),
            "heatmap": heat.total.detach(),
            "background": heat.background,
            "foreground": heat.foreground,
        }
        return Losses((1 - P) * classification + P * heat.total, result.logits, parts)
