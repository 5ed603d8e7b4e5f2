"""One batch for all methods."""

from __future__ import annotations

import torch

from isnet_models.methods.base import Batch


def batch(B: int = 6, size: int = 32) -> Batch:
    """Random films with a square lung, three classes."""
    g = torch.Generator().manual_seed(0)
    masks = torch.zeros(B, 1, size, size)
    masks[..., 8:24, 8:24] = 1
    return Batch(torch.rand(B, 1, size, size, generator=g), masks, torch.arange(B) % 3)
