"""The ISNet: classification loss and heat-map loss, (1-P)·L_class + P·L_heat.

Sources: original (LRP Block, all logits), and gradient x input as an ablation: Bassi et al., Nature
Communications 15:291 (2024). LRP-Flex, Selective, Stochastic, Dual, and gradient x input of the
largest probability in the authors' code: Faster ISNet, IEEE Access 12:155151 (2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from isnet_lrp import Choice, Compute, relevance
from isnet_lrp.losses.deep_supervision import MapLossSettings, deep_supervision_loss
from isnet_lrp.losses.energy import EnergyLossSettings
from isnet_lrp.losses.heatmap import HeatmapLossSettings
from isnet_lrp.maps import FamilyName
from isnet_lrp.targets import Target, draw_chances
from isnet_models.methods.base import EVERY_MAP, Batch, Context, Losses, Method, Range
from isnet_models.methods.settings import (
    GradInputSettings,
    ISNetSettings,
    MethodSettings,
    RelevanceLossSettings,
    Variant,
)
from isnet_models.ranks import count_images, join_shares, take_share

PIXELS = (0.0, 1.0)  # bounds of the zB rule: what image pixels can be
INPUT = "input"  # name of the image's own map among the supervised layers
UNKNOWN: Range = (1.0, 25.0)  # C1 and C2 while they are not known


@dataclass(frozen=True)
class MapRule:
    """Which relevance maps of an image are made; see `isnet_lrp.relevance`.

    Attributes:
        family: LRP family.
        target: What the maps explain.
        maps: Number of maps per image for K classes: "K", or a number.
        epsilon: LRP's stabiliser, >= 0.
        bounded: Whether the first layer follows the rule for pixels in [0, 1] (zB).
        delta: Offset of the selective quantity, >= 0.
        probability: Of the predicted class in the stochastic choice.
    """

    family: FamilyName = "flex"
    target: Target = "selective"
    maps: Literal["K", 1, 2] = 1
    epsilon: float = 0.01
    bounded: bool = True
    delta: float = 0.01
    probability: float = 0.5


VARIANTS: Mapping[str, MapRule] = {
    "original": MapRule("block", "all", "K"),
    "flex": MapRule("flex", "all", "K"),
    "selective": MapRule("flex", "selective", 1),
    "stochastic": MapRule("flex", "stochastic", 1),
    "dual": MapRule("dual", "every-logit-at-once", 2),
}


def choose_variant(variant: Variant, context: Context) -> str:
    """The variant that ``auto`` stands for: one of `VARIANTS`."""
    if variant != "auto":
        return variant
    return "selective" if context.classes == 2 and context.exclusive else "stochastic"


class MapLossMethod(Method):
    """(1-P)·classification + P·loss of relevance maps; a subclass says which maps.

    Args:
        settings: A record of the class's `Settings`.
        context: Its `ranges` are C1 and C2 of every supervised map.
        inner: None.
    """

    Settings: ClassVar[type[MethodSettings]] = RelevanceLossSettings
    shares: ClassVar[bool] = True

    def __init__(
        self, settings: Any = None, context: Context | None = None, inner: Method | None = None
    ) -> None:
        super().__init__(settings, context, inner)
        self.map_loss = map_loss_settings(self.settings, self.context.ranges)
        self.generator: torch.Generator | None = None
        self._step = 0

    @property
    def rule(self) -> MapRule:
        """How the maps are made."""
        raise NotImplementedError

    def heatmap_weight(self, epoch: int) -> float:
        """P in `epoch`: that of the schedule's last entry which is not after it, warmed up."""
        given: float | dict[int, float] = self.settings.heatmap_weight
        if isinstance(given, dict):
            given = given[max(first for first in given if first <= epoch)]
        warm: float = min(1.0, (epoch + 1) / (self.settings.warmup_epochs + 1))
        return given * warm

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
        draws: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Maps of a batch, and the logits of the same forward pass.

        Args:
            net: The classifier.
            images: [B, C, H, W] in [0, 1].
            create_graph: Whether the maps will be differentiated.
            generator: Chance of the stochastic variant (on the CPU).
            draws: That chance, drawn before; see `relevance`.

        Returns:
            ({"input": [B, K', C, H, W], layer: [B, K', C_l, h, w], ...}, [B, K]).
        """
        s: RelevanceLossSettings = self.settings
        rule = self.rule
        found = relevance(
            net, images, rule.target, family=rule.family, epsilon=rule.epsilon,
            zb=PIXELS if rule.bounded else None, layers=() if s.layers == "none" else s.layers,
            create_graph=create_graph, batch_norm=s.batch_norm_gradient,
            choice=Choice(
                delta=rule.delta, probability=rule.probability, generator=generator,
                draws=draws,
            ),
            compute=Compute(
                precision="mixed" if self.context.autocast else "float32",
                memory=None if s.memory_gb == "unlimited" else int(s.memory_gb * 1e9),
                checkpoint=s.recompute_maps, check=False,
            ),
        )  # fmt: skip
        return {INPUT: found.maps, **found.layers}, found.logits

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """(1-P)·classification + P·map loss of the batch; all of it without gradient mode.

        There the stochastic target has the same draws in each batch of every epoch.

        Images whose mask is empty or full take part in the classification alone; "mapped" is the
        others' share of the batch.
        """
        s, P = self.settings, self.heatmap_weight(epoch)
        training = torch.is_grad_enabled()
        if training:
            self._step += 1
        if training and (self._step - 1) % s.every_steps:
            logits = net(batch.images)
            classification = self.classification(logits, batch.labels)
            parts = {"classification": classification.detach()}
            return Losses((1 - P) * classification, logits, parts)
        B = count_images(batch.images)
        n = self._mapped(B) if training else B
        chance = self.generator if training else torch.Generator().manual_seed(0)
        drawn = None
        if self.rule.target == "stochastic":
            drawn = take_share(draw_chances(n, chance), dim=1)
        own = len(take_share(torch.empty(n)))
        maps, logits = self.maps(net, batch.images[:own], create_graph=training, draws=drawn)
        if n < B:
            logits = torch.cat([logits, net(batch.images[own:])])
        maps = {name: join_shares(part, n) for name, part in maps.items()}
        masks = join_shares(batch.masks[:own], n)
        heat = deep_supervision_loss(maps, masks, self.map_loss, s.layer_decay)
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
        n = max(math.ceil(self.settings.batch_share * batch_size), min(2, batch_size))
        return batch_size if batch_size - n == 1 else n


class ISNet(MapLossMethod):
    """Penalises relevance by LRP outside the lungs while it trains the classifier."""

    Settings: ClassVar[type[MethodSettings]] = ISNetSettings

    @property
    def rule(self) -> MapRule:
        """That of the variant."""
        s: ISNetSettings = self.settings
        return replace(
            VARIANTS[choose_variant(s.variant, self.context)],
            epsilon=s.epsilon, bounded=s.bounded_first_layer,
            delta=s.selective_offset, probability=s.predicted_probability,
        )  # fmt: skip


class GradInput(MapLossMethod):
    """The ISNet's loss on gradient x input maps of all classes: LRP-0 of networks of ReLUs.

    Source: the ablation of Bassi et al., Nature Communications 15:291 (2024).
    """

    Settings: ClassVar[type[MethodSettings]] = GradInputSettings

    @property
    def rule(self) -> MapRule:
        """Neither stabiliser nor pixel rule."""
        return MapRule("flex", "all", "K", epsilon=0.0, bounded=False)


class SoftmaxGradInput(GradInput):
    """The ISNet's loss on x · d(max_k softmax_k)/dx, one map per image (one class each).

    The maps come from the relevance engine, so that BatchNorm's statistics stay constants of an
    image's map, and hidden layers, mixed precision and memory limits work as for the other
    variants.
    Source: an ablation in the authors' code for Bassi et al., IEEE Access 12:155151 (2024).
    """

    @property
    def rule(self) -> MapRule:
        """Of the largest probability alone."""
        return replace(super().rule, target="max-probability", maps=1)


def map_loss_settings(
    settings: RelevanceLossSettings, ranges: Mapping[str, Range] | None
) -> MapLossSettings | dict[str, MapLossSettings]:
    """Constants of the map loss, for all supervised maps or by name.

    Args:
        settings: The method's settings.
        ranges: As `Context.ranges`.
    """
    s = settings
    if s.loss == "energy":
        return EnergyLossSettings(margin=s.margin)
    found: dict[str, MapLossSettings] = {
        name: HeatmapLossSettings(
            background_weight=s.background_weight, foreground_weight=s.foreground_weight,
            decay=1.0 if s.pooling_decay == "share" else s.pooling_decay,
            share=s.pooling_share if s.pooling_decay == "share" else None, margin=s.margin,
            saturation=s.saturation, low=low, high=high, foreground=s.foreground,
        )
        for name, (low, high) in (ranges or {EVERY_MAP: UNKNOWN}).items()
    }  # fmt: skip
    return found.get(EVERY_MAP, found)
