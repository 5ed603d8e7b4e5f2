"""The variants of the ISNet: which relevance maps its loss looks at.

Sources: original (LRP Block, all logits): Bassi et al., Nature Communications 15:291 (2024).
LRP-Flex, Selective, Stochastic, Dual: Faster ISNet, IEEE Access 2024 (arXiv 2401.08409).
Gradient x Input: the ablation of the first paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from isnet_lrp import Relevance, relevance
from isnet_lrp.maps import Family
from isnet_lrp.targets import Target

PIXELS = (0.0, 1.0)  # bounds of the zB rule: what image pixels can be
INPUT = "input"  # name of the image's own map among the supervised layers

Variant = Literal["original", "flex", "selective", "stochastic", "dual", "grad_input"]


@dataclass(frozen=True)
class Kind:
    """What a variant computes.

    Attributes:
        family: LRP family.
        target: What the maps explain.
        maps: Number of maps per image for K classes: "K", or a number.
    """

    family: Family
    target: Target
    maps: Literal["K", 1, 2]


VARIANTS: dict[str, Kind] = {
    "original": Kind("block", "all", "K"),
    "flex": Kind("flex", "all", "K"),
    "selective": Kind("flex", "selective", 1),
    "stochastic": Kind("flex", "stochastic", 1),
    "dual": Kind("dual", "every-logit-at-once", 2),
    "grad_input": Kind("flex", "all", "K"),
}


@dataclass(frozen=True)
class Explanation:
    """How the maps of a variant are made.

    Attributes:
        variant: Name in `VARIANTS`; "grad_input" has neither epsilon nor zB rule.
        epsilon: LRP's stabiliser, >= 0.
        zb: Whether the first layer has the zB rule for pixels in [0, 1].
        delta: Offset of the selective quantity, >= 0.
        probability: Of the predicted class in the stochastic choice.
        layers: Deep supervision: module names, "auto", or () for the image alone.
        batch_norm: See `relevance`.
        precision: See `relevance`; "mixed" does not exist for "dual".
        memory: See `relevance`.
        checkpoint: See `relevance`.
    """

    variant: Variant = "selective"
    epsilon: float = 0.01
    zb: bool = True
    delta: float = 0.01
    probability: float = 0.5
    layers: tuple[str, ...] | Literal["auto"] = ()
    batch_norm: Literal["constant", "authors"] = "constant"
    precision: Literal["float32", "mixed"] = "float32"
    memory: int | None = None
    checkpoint: bool = False

    def maps(
        self,
        net: nn.Module,
        images: Tensor,
        *,
        create_graph: bool,
        generator: torch.Generator | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Maps of a batch, and the logits of the same forward pass.

        Args:
            net: The classifier.
            images: [B, C, H, W] in [0, 1].
            create_graph: Whether the maps will be differentiated.
            generator: Chance of the stochastic variant (on the CPU).

        Returns:
            ({"input": [B, K', C, H, W], layer: [B, K', C_l, h, w], ...}, [B, K]).
        """
        kind = VARIANTS[self.variant]
        plain = self.variant == "grad_input"
        found: Relevance = relevance(
            net, images, kind.target, family=kind.family, epsilon=0.0 if plain else self.epsilon,
            zb=PIXELS if self.zb and not plain else None, layers=self.layers,
            create_graph=create_graph, delta=self.delta, probability=self.probability,
            generator=generator, batch_norm=self.batch_norm, precision=self.precision,
            memory=self.memory, checkpoint=self.checkpoint,
        )  # fmt: skip
        return {INPUT: found.maps, **found.layers}, found.logits
