"""Dice and the segmentation loss by hand and by slow sums."""

from __future__ import annotations

import math

import pytest
import torch

from isnet_models.dice_loss import dice, dice_cross_entropy


def test_the_loss_by_hand() -> None:
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    # p = 1/2 everywhere: cross-entropy ln 2; Dice 1 - (2*1 + 1) / (2 + 2 + 1) = 2/5
    loss = dice_cross_entropy(torch.zeros(1, 1, 2, 2), target)
    assert float(loss) == pytest.approx(math.log(2) + 0.4, abs=1e-6)
    sure = dice_cross_entropy((target - 0.5) * 200, target)
    assert float(sure) == pytest.approx(0.0, abs=1e-6)


def test_the_loss_pixel_by_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 5, 4, generator=generator, dtype=torch.float64)
    target = torch.rand(3, 1, 5, 4, generator=generator, dtype=torch.float64)
    cross, soft = 0.0, 0.0
    for z, t in zip(logits, target, strict=True):
        overlap = total = 0.0
        for a, b in zip(z.flatten().tolist(), t.flatten().tolist(), strict=True):
            p = 1 / (1 + math.exp(-a))
            cross -= (b * math.log(p) + (1 - b) * math.log(1 - p)) / 60
            overlap, total = overlap + p * b, total + p + b
        soft += (1 - (2 * overlap + 1) / (total + 1)) / 3
    assert float(dice_cross_entropy(logits, target)) == pytest.approx(cross + soft, abs=1e-9)


def test_dice_of_sets() -> None:
    a = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    b = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]).bool()
    assert dice(a, b).tolist() == [0.5, 1.0, 0.0]
