"""Which quantity a map explains, per image: logits, or the selective contrast."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Target = Literal["all", "predicted", "stochastic", "selective"]
TARGETS: tuple[str, ...] = ("all", "predicted", "stochastic", "selective")


def quantities(
    logits: Tensor,
    target: Target | Tensor,
    *,
    delta: float = 0.01,
    probability: float = 0.5,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """Quantities to explain, one [B] tensor per map (LRP_SPEC 3.3).

    Args:
        logits: [B, K].
        target: "all": each logit in turn (K maps). "predicted": the largest logit. "stochastic":
            the largest with `probability`, else a uniformly drawn other class, per image.
            "selective": ln(p+delta) - ln(1-p+delta), p the softmax of the smallest logit.
            Or class indices, int64 [B].
        delta: Offset of the selective quantity, >= 0.
        probability: Of the stochastic choice, 0 to 1.
        generator: Random source of the stochastic choice (on the CPU).

    Raises:
        ValueError: Unknown target, or "selective" with fewer than two classes.
    """
    K = logits.shape[1]
    if isinstance(target, Tensor):
        return [_pick(logits, target)]
    if target == "all":
        return list(logits.unbind(1))
    if target == "predicted":
        return [_pick(logits, logits.argmax(1))]
    if target == "stochastic":
        return [_pick(logits, stochastic_choice(logits, probability, generator))]
    if target == "selective":
        if K < 2:
            raise ValueError("target 'selective' contrasts classes: it needs two or more logits")
        p = _pick(logits.softmax(1), logits.argmin(1))
        return [torch.log(p + delta) - torch.log(1 - p + delta)]
    raise ValueError(f"target {target!r}: expected one of {', '.join(TARGETS)} or class indices")


def stochastic_choice(
    logits: Tensor, probability: float, generator: torch.Generator | None
) -> Tensor:
    """Class per image, int64 [B]: the largest logit with `probability`, else any other class."""
    B, K = logits.shape
    best = logits.argmax(1)
    if K == 1:
        return best
    draws = torch.rand(2, B, generator=generator).to(logits.device)
    other = (best + 1 + (draws[1] * (K - 1)).long().clamp(max=K - 2)) % K
    return torch.where(draws[0] < probability, best, other)


def _pick(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index.to(values.device).view(-1, 1)).squeeze(1)
