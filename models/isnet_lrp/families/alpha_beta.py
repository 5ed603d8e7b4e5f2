"""The alpha-beta rule: positive and negative contributions apart (Bach et al. 2015, equation 60).

    R_j = Σ_k (α · (a_j W_jk)⁺/stab(Σ_i (a_i W_ik)⁺ + b_k⁺) - β · (a_j W_jk)⁻/stab(Σ_i (a_i W_ik)⁻ + b_k⁻)) R_k

α - β = 1 conserves relevance. Sums, pools and the rest share in proportion to contributions.
"""  # noqa: E501 - a formula

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isnet_lrp.families.rules import MIXES, Part, WeightedRule, negative, positive, refuse
from isnet_lrp.family import Family
from isnet_lrp.ops.weighted import Weighted
from isnet_lrp.targets import start_with_logits


@dataclass(frozen=True)
class AlphaBeta(WeightedRule):
    """The alpha-beta rule.

    Attributes:
        alpha: Weight of the positive contributions.
        beta: Weight of the negative ones.
    """

    alpha: float = 2.0
    beta: float = 1.0

    def split(self, op: Weighted) -> list[Part]:
        """Positive products and negative ones."""
        up, down, b = positive(op.weight), negative(op.weight), op.bias
        parts = [
            Part(up, None if op.positive else down, None if b is None else positive(b), self.alpha)
        ]
        if self.beta != 0:
            below = None if b is None else negative(b)
            parts.append(Part(down, None if op.positive else up, below, -self.beta))
        return parts


RULES: dict[Any, Any] = dict.fromkeys(MIXES, refuse) | {Weighted: AlphaBeta()}
ALPHA_BETA = Family("alpha-beta", start_with_logits, "relevance", RULES)
