"""Explanation distillation: a student learns the reasons of a teacher that sees the lungs alone.

Source: Bassi et al., "Explanation Distillation", arXiv 2407.09788 (2024). The teacher's maps need
masks in training; the student needs none afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from isnet_lrp import Compute, relevance
from isnet_lrp.losses.map_distance import map_distance
from isnet_lrp.losses.map_masks import find_usable_masks
from isnet_lrp.targets import choose_classes, draw_chances
from isnet_models.backgrounds import filled
from isnet_models.divergence import average_where, measure_divergence
from isnet_models.features import features, last_layer, watched
from isnet_models.methods.base import Batch, Context, Losses, Method
from isnet_models.methods.guided.isnet import PIXELS
from isnet_models.methods.settings import DistillationSettings
from isnet_models.ranks import count_images, join_shares, take_share


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of a batch.

    Attributes:
        logits: [B, K].
        features: What its last layer sees [B, F].
        classes: The class that each map explains, int64 [B].
        maps: [B, C, H, W]; empty where maps have no weight.
        epsilon: Of the maps.
    """

    logits: Tensor
    features: Tensor
    classes: Tensor
    maps: Tensor
    epsilon: float


class Distillation(Method):
    """map_weight·D + feature_weight·MSE + logit_weight·T²·KL + label_weight·classification.

    Args:
        settings: A `DistillationSettings`.
        context: With `teacher`, a classifier with the student's classes and input, in eval mode.
        inner: None.
    """

    Settings = DistillationSettings
    shares = True

    def __init__(
        self, settings: Any = None, context: Context | None = None, inner: Method | None = None
    ) -> None:
        super().__init__(settings, context, inner)
        self.generator: torch.Generator | None = None

    @property
    def teacher(self) -> nn.Module:
        """The teacher.

        Raises:
            ValueError: The context has none.
        """
        if self.context.teacher is None:
            raise ValueError("distillation: the context has no teacher")
        return self.context.teacher

    def prepare(self, net: nn.Module) -> None:
        """Copies the teacher's last layer into the student and freezes it, if asked for.

        Raises:
            ValueError: Features are compared, and the two networks have not as many.
        """
        ours, theirs = last_layer(net), last_layer(self.teacher)
        widths = [cast(Tensor, layer.weight).shape[1] for layer in (ours, theirs)]
        if self.settings.feature_weight and widths[0] != widths[1]:
            raise ValueError(
                f"distillation: {widths[0]} features, the teacher has {widths[1]}: "
                "expected as many, or feature_weight: 0"
            )
        shapes = [[tuple(p.shape) for p in layer.parameters()] for layer in (ours, theirs)]
        if self.settings.freeze_last and type(ours) is type(theirs) and shapes[0] == shapes[1]:
            ours.load_state_dict(theirs.state_dict())
            ours.requires_grad_(False)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Takes the epoch's chance, for epsilon and the explained classes."""
        self.generator = generator

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """The weighted sum; without gradient mode epsilon is the range's geometric mean.

        Images without a usable mask take part in the classification alone, if `masked`.
        """
        s, several = self.settings, batch.labels.dim() == 2
        counted = join_shares(find_usable_masks(batch.masks) | (not s.masked))
        learning = torch.is_grad_enabled()
        lesson = self.lesson(batch, chance=learning)
        with watched(net) as seen:
            if s.map_weight:
                maps, logits = self._maps(
                    net, batch.images, lesson.classes, lesson.epsilon, learning
                )
            else:
                logits = self.logits(net, batch.images)
        terms: dict[str, Tensor] = {}
        if s.map_weight:
            apart = map_distance(maps, lesson.maps, pyramid=s.pyramid)
            terms["maps"] = average_where(join_shares(apart), counted)
        if s.feature_weight:
            own = features(net, seen, len(batch.images)).to(logits.dtype)
            off = (own - lesson.features).square().mean(1)
            terms["features"] = average_where(join_shares(off), counted)
        if s.logit_weight:
            T = s.temperature
            kl = measure_divergence(lesson.logits / T, logits / T, several=several)
            terms["logits"] = T**2 * average_where(join_shares(kl), counted)
        classification = self.classification(logits, batch.labels)
        weights = {"maps": s.map_weight, "features": s.feature_weight, "logits": s.logit_weight}
        total = sum((weights[name] * term for name, term in terms.items()), logits.new_zeros(()))
        if s.label_weight:
            total = total + s.label_weight * classification
        parts = {name: term.detach() for name, term in terms.items()}
        return Losses(total, logits, {"classification": classification.detach(), **parts})

    @torch.no_grad()
    def lesson(self, batch: Batch, *, chance: bool) -> Lesson:
        """What the teacher says of the images as it sees them.

        Args:
            batch: The images.
            chance: Whether epsilon and classes are drawn; else they are the range's geometric mean
                and the first choices.
        """
        s = self.settings
        images = self.shown(batch)
        with watched(self.teacher) as seen:
            logits = self.logits(self.teacher, images)
        known = features(self.teacher, seen, len(images)).to(images.dtype)
        low, high = s.epsilon
        share, classes = 0.5, logits.argmax(1)
        if chance:
            share = float(torch.rand((), generator=self.generator))
            if logits.shape[1] > 1:
                draws = take_share(draw_chances(count_images(images), self.generator), dim=1)
                classes = choose_classes(
                    logits, "stochastic", probability=s.predicted_probability, draws=draws
                )
        epsilon = math.exp((1 - share) * math.log(low) + share * math.log(high)) if low else 0.0
        maps = images.new_zeros(0)
        if s.map_weight:
            maps, _ = self._maps(self.teacher, images, classes, epsilon, False)
        return Lesson(logits, known, classes, maps, epsilon)

    def shown(self, batch: Batch) -> Tensor:
        """The images as the teacher sees them [B, C, H, W]."""
        if not self.settings.masked:
            return batch.images
        if self.settings.fill == "black":
            return batch.images * batch.masks
        return filled(batch.images, batch.masks, "blur")

    def _maps(
        self, net: nn.Module, images: Tensor, classes: Tensor, epsilon: float, learning: bool
    ) -> tuple[Tensor, Tensor]:
        found = relevance(
            net, images, classes, family="flex", epsilon=epsilon,
            zb=PIXELS if self.settings.bounded_first_layer else None, create_graph=learning,
            compute=Compute("mixed" if self.context.autocast else "float32", check=False),
        )  # fmt: skip
        return found.maps[:, 0], found.logits
