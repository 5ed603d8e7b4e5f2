"""Augmentation moves film and mask together and can be repeated."""

from __future__ import annotations

import pytest
import torch

from isnet_cli.config.schema import Augment
from isnet_cli.data.augment import augment

STILL = Augment(rotate=0, translate=0, scale=0, flip=False, contrast=0, brightness=0)


def test_augmentation_without_ranges_changes_nothing() -> None:
    x, m = torch.rand(2, 1, 16, 24), (torch.rand(2, 1, 16, 24) < 0.5).float()
    a, b = augment(x, m, STILL, torch.Generator().manual_seed(0))
    assert torch.allclose(a, x, atol=1e-5)
    assert torch.equal(b, m)


@pytest.mark.parametrize(
    "change", [{"rotate": 90.0}, {"translate": 0.2}, {"scale": 0.5}, {"flip": True}]
)
def test_film_and_mask_move_together(change: dict) -> None:
    x = torch.zeros(8, 1, 64, 48)
    x[:, :, 20:44, 12:30] = 1
    settings = STILL.model_copy(update=change)
    a, b = augment(x, x.clone(), settings, torch.Generator().manual_seed(1))
    assert ((a >= 0.5) == (b > 0)).float().mean() > 0.995
    assert not torch.allclose(a, x)
    again, _ = augment(x, x.clone(), settings, torch.Generator().manual_seed(1))
    assert torch.equal(a, again)


def test_rotation_keeps_areas_on_oblong_films() -> None:
    x = torch.zeros(32, 1, 64, 48)
    x[:, :, 22:42, 14:34] = 1
    settings = STILL.model_copy(update={"rotate": 45.0})
    _, m = augment(x, x.clone(), settings, torch.Generator().manual_seed(2))
    assert torch.allclose(m.sum((1, 2, 3)), torch.tensor(400.0).expand(32), rtol=0.06)


def test_moving_keeps_fine_structure() -> None:
    x = (0.5 + 0.4 * torch.sin(torch.arange(64) * torch.pi / 2)).expand(16, 1, 64, 64)
    settings = STILL.model_copy(update={"translate": 0.1})
    a, _ = augment(x, torch.ones_like(x), settings, torch.Generator().manual_seed(3))
    inner = a[:, :, 16:48, 16:48]
    assert (inner.std((1, 2, 3)) > 0.94 * x[0].std()).all()  # bilinear: down to 0.71


def test_sharp_edges_do_not_overshoot() -> None:
    x = torch.zeros(8, 1, 64, 64)
    x[:, :, 16:48, 16:48] = 1
    settings = STILL.model_copy(update={"rotate": 20.0, "contrast": 0.9})
    a, _ = augment(x, x.clone(), settings, torch.Generator().manual_seed(4))
    white, soft = a[:, 0, 32, 32], a[:, 0, 32, 32] < 0.999
    assert soft.any()
    assert torch.allclose(a.amax((1, 2, 3))[soft], white[soft], atol=1e-5)


def test_contrast_leaves_the_mask_alone() -> None:
    x = torch.full((4, 1, 8, 8), 0.5)
    m = torch.ones(4, 1, 8, 8)
    settings = STILL.model_copy(update={"brightness": 0.3})
    a, b = augment(x, m, settings, torch.Generator().manual_seed(0))
    assert torch.equal(b, m)
    assert a.std() > 0.01
    assert a.min() >= 0
    assert a.max() <= 1
