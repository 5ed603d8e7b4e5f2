"""The ISNet with gradient x input of the largest probability: one map of all logits together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isnet_lrp import relevance
from isnet_models.methods.guided.isnet import INPUT, GradInput


class SoftmaxGradInput(GradInput):
    """The ISNet's losses on x · d(max_k softmax_k)/dx, one map per image (one class each).

    The maps come from the relevance engine, so that BatchNorm's statistics stay constants of an
    image's map, and hidden layers, mixed precision and memory limits work as for the other
    variants.
    Source: an ablation in the authors' code for Bassi et al., IEEE Access 12:155151 (2024).
    """

    def maps(
        self,
        net: nn.Module,
        images: Tensor,
        *,
        create_graph: bool,
        generator: torch.Generator | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The maps that the loss looks at, and the logits; as `Explanation.maps`."""
        e = self.loss.explanation
        found = relevance(
            net, images, "max-probability", epsilon=0.0, layers=e.layers,
            create_graph=create_graph, batch_norm=e.batch_norm, precision=e.precision,
            memory=e.memory, checkpoint=e.checkpoint,
        )  # fmt: skip
        return {INPUT: found.maps, **found.layers}, found.logits
