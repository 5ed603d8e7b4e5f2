"""A small smooth-enough network whose feature map can be asked for, and images for it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from isnet_models.methods.base import Batch

CLASSES = 3


class Small(nn.Module):
    """Two convolutions, then the mean over positions and one linear layer; float64."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def small() -> Small:
    """A reproducible one with its weights large enough to matter, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = Small().double().eval()
        for p in net.parameters():
            p.data = 0.7 * torch.randn_like(p)
    return net


def images(*, several: bool = False) -> Batch:
    """Four images of 8 x 8; the third has an empty mask, the fourth a full one.

    Args:
        several: Several labels, one of them missing, instead of one class.
    """
    g = torch.Generator().manual_seed(2)
    masks = torch.zeros(4, 1, 8, 8).double()
    masks[0, :, 2:6, 1:4] = 1
    masks[1, :, 1:5, 3:8] = 1
    masks[3] = 1
    x = torch.rand(4, 2, 8, 8, generator=g, dtype=torch.float64)
    labels = torch.tensor([2, 0, 1, 2])
    if several:
        rows = [[1, 0, 1], [0, 1, math.nan], [0, 0, 0], [1, 1, 0]]
        labels = torch.tensor(rows, dtype=torch.float64)
    return Batch(x, masks, labels)
