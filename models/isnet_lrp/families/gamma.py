"""The gamma rule favours contributions of the output's own sign (Montavon et al. 2019).

    R_j = Σ_k (a_j⁺(W + γW⁺)_jk + a_j⁻(W + γW⁻)_jk) · R_k/stab(Σ_i the same + b_k + γb_k⁺)

where z_k > 0; where z_k < 0 with W⁺ and W⁻, b⁻ for b⁺ exchanged (generalised to inputs and outputs
of either sign as in zennit, Anders et al. 2021, arXiv 2106.13200). γ = 0 is the epsilon rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from isnet_lrp.families.rules import MIXES, Part, WeightedRule, negative, positive, refuse
from isnet_lrp.family import Family
from isnet_lrp.ops.weighted import Weighted
from isnet_lrp.targets import start_with_logits


@dataclass(frozen=True)
class Gamma(WeightedRule):
    """The gamma rule.

    Attributes:
        gamma: >= 0.
    """

    gamma: float = 0.25

    def split(self, op: Weighted) -> list[Part]:
        """The outputs above 0 and those below."""
        W, b, a = op.weight, op.bias, op.input()
        z = op.forward(W, b, a)
        up, down = W + self.gamma * positive(W), W + self.gamma * negative(W)

        def bias(part: Tensor | None) -> Tensor | None:
            return None if b is None or part is None else b + self.gamma * part

        above = bias(None if b is None else positive(b))
        below = bias(None if b is None else negative(b))
        return [
            Part(up, None if op.positive else down, above, (z > 0).to(z.dtype)),
            Part(down, None if op.positive else up, below, (z < 0).to(z.dtype)),
        ]


RULES: dict[Any, Any] = dict.fromkeys(MIXES, refuse) | {Weighted: Gamma()}
GAMMA = Family("gamma", start_with_logits, "relevance", RULES)
