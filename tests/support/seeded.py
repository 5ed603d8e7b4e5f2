"""Classifiers whose untrained weights repeat."""

from __future__ import annotations

import torch
from torch import nn

from isnet_models.backbones import build_backbone


def seeded_backbone(
    name: str, classes: int, *, channels: int = 1, dropout: float = 0.0, seed: int = 0
) -> nn.Module:
    """`build_backbone` with weights that follow from `seed`; the random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_backbone(name, classes, channels=channels, dropout=dropout)
