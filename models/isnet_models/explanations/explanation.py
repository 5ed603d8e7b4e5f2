"""What every explanation method returns, which classes it explains, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


class MethodError(ValueError):
    """A method of explanation that is not defined for this network; says why."""


@dataclass(frozen=True)
class Explanation:
    """Maps of a batch, and what they should add up to.

    Attributes:
        logits: The network's outputs [B, K].
        maps: [B, N, C, h, w], one for each explained class; C may be 1.
        total: What each map should sum to [B, N]; None for methods that promise no sum.
    """

    logits: Tensor
    maps: Tensor
    total: Tensor | None = None


def explained_classes(logits: Tensor, target: str | Tensor) -> Tensor:
    """Classes to explain for each image, int64 [B, N].

    Args:
        logits: [B, K].
        target: ``predicted`` (the largest logit), ``all`` (every class), or indices [B].
    """
    if isinstance(target, Tensor):
        return target.to(logits.device)[:, None]
    if target == "all":
        B, K = logits.shape
        return torch.arange(K, device=logits.device).expand(B, K)
    return logits.argmax(1, keepdim=True)
