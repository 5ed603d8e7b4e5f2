"""The ISNet: classification loss and heat-map loss, (1-P)·L_class + P·L_heat."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from isnet_lrp.losses.deep_supervision import MapLossSettings, deep_supervision_loss
from isnet_lrp.losses.heatmap import HeatmapLossSettings
from isnet_models.methods.base import Batch, Context, Losses, Method
from isnet_models.methods.guided.variants import INPUT, Explanation


@dataclass(frozen=True)
class ISNetSettings:
    """Settings of the ISNet (Bassi et al. 2024; Faster ISNet 2024).

    Attributes:
        weight: P as {first epoch: P}; the entry with the largest key <= epoch applies; key 0
            must exist; 0 <= P <= 1.
        explanation: How the maps are made.
        loss: Constants of the map loss, for all supervised layers or by layer's name.
        layer_decay: Decay of GWRP over supervised layers, 0 (the worst alone) to 1 (mean).
        every: The map loss is taken in every n-th training step; the steps between have
            (1-P)·L_class alone.
        share: Part of each training batch whose maps are made, > 0 to 1; the others are passed
            through the network apart, so BatchNorm sees two batches.
    """

    weight: dict[int, float] = field(default_factory=lambda: {0: 0.7})
    explanation: Explanation = field(default_factory=Explanation)
    loss: MapLossSettings | Mapping[str, MapLossSettings] = field(
        default_factory=HeatmapLossSettings
    )
    layer_decay: float = 0.8
    every: int = 1
    share: float = 1.0


class ISNet(Method):
    """Penalises relevance outside the lungs while it trains the classifier.

    Args:
        settings: None; the heat-map loss is the context's.
        context: With `isnet`, the settings of the heat-map loss; None: the defaults.
    """

    def __init__(
        self, settings: Any = None, context: Context | None = None, inner: Method | None = None
    ) -> None:
        super().__init__(settings, context, inner)
        self.loss = self.context.isnet or ISNetSettings()
        self.generator: torch.Generator | None = None
        self._step = 0

    def heatmap_weight(self, epoch: int) -> float:
        """P in `epoch`."""
        return self.loss.weight[max(e for e in self.loss.weight if e <= epoch)]

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Takes the epoch's chance for the stochastic target and counts its steps anew."""
        self.generator = generator
        self._step = 0

    def figures(self, epoch: int) -> dict[str, float]:
        """P of the epoch."""
        return {"heatmap_weight": self.heatmap_weight(epoch)}

    def maps(
        self,
        net: nn.Module,
        images: Tensor,
        *,
        create_graph: bool,
        generator: torch.Generator | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The maps that the loss looks at; see `Explanation.maps`."""
        return self.loss.explanation.maps(
            net, images, create_graph=create_graph, generator=generator
        )

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """(1-P)·classification + P·map loss of the batch; all of it without gradient mode.

        There the stochastic target has the same draws in each batch of every epoch.

        Images whose mask is empty or full take part in the classification alone; "mapped" is the
        others' share of the batch.
        """
        s, P = self.loss, self.heatmap_weight(epoch)
        training = torch.is_grad_enabled()
        if training:
            self._step += 1
        if training and (self._step - 1) % s.every:
            logits = net(batch.images)
            classification = self.classification(logits, batch.labels)
            parts = {"classification": classification.detach()}
            return Losses((1 - P) * classification, logits, parts)
        B = len(batch.images)
        n = self._mapped(B) if training else B
        chance = self.generator if training else torch.Generator().manual_seed(0)
        maps, logits = self.maps(net, batch.images[:n], create_graph=training, generator=chance)
        if n < B:
            logits = torch.cat([logits, net(batch.images[n:])])
        heat = deep_supervision_loss(maps, batch.masks[:n], s.loss, s.layer_decay)
        classification = self.classification(logits, batch.labels)
        parts = {
            "classification": classification.detach(),
            "heatmap": heat.total.detach(),
            "background": heat.background,
            "foreground": heat.foreground,
            "mapped": heat.counted / B,
        }
        if len(maps) > 1:
            parts |= {f"heatmap_{name}": loss.detach() for name, loss in heat.per_layer.items()}
        return Losses((1 - P) * classification + P * heat.total, logits, parts)

    def _mapped(self, batch_size: int) -> int:
        # BatchNorm cannot train on one image
        n = max(math.ceil(self.loss.share * batch_size), min(2, batch_size))
        return batch_size if batch_size - n == 1 else n


class GradInput(ISNet):
    """The ISNet with gradient x input maps of all classes: LRP-0 of networks of ReLUs.

    Source: the ablation of Bassi et al., Nature Communications 15:291 (2024).
    """

    def __init__(
        self, settings: Any = None, context: Context | None = None, inner: Method | None = None
    ) -> None:
        super().__init__(settings, context, inner)
        explanation = replace(self.loss.explanation, variant="grad_input")
        self.loss = replace(self.loss, explanation=explanation)


__all__ = ["INPUT", "GradInput", "ISNet", "ISNetSettings"]
