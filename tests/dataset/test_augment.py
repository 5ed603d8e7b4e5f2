"""Augmentation moves image and mask together and can be repeated."""

from __future__ import annotations

import math

import pytest
import torch

from isnet_cli.config.schema import Augment
from isnet_cli.dataset.augment import OCTAVES, augment, change_spectrum

STILL = Augment(rotate=0, translate=0, scale=0, flip=False, contrast=0, brightness=0)


def test_augmentation_without_ranges_changes_nothing() -> None:
    x, m = torch.rand(2, 1, 16, 24), (torch.rand(2, 1, 16, 24) < 0.5).float()
    a, b = augment(x, m, STILL, torch.Generator().manual_seed(0))
    assert torch.allclose(a, x, atol=1e-5)
    assert torch.equal(b, m)


@pytest.mark.parametrize(
    "change", [{"rotate": 90.0}, {"translate": 0.2}, {"scale": 0.5}, {"flip": True}]
)
def test_image_and_mask_move_together(change: dict) -> None:
    x = torch.zeros(8, 1, 64, 48)
    x[:, :, 20:44, 12:30] = 1
    settings = STILL.model_copy(update=change)
    a, b = augment(x, x.clone(), settings, torch.Generator().manual_seed(1))
    assert ((a >= 0.5) == (b > 0)).float().mean() > 0.995
    assert not torch.allclose(a, x)
    again, _ = augment(x, x.clone(), settings, torch.Generator().manual_seed(1))
    assert torch.equal(a, again)


def test_rotation_keeps_areas_on_oblong_images() -> None:
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


def _off(**values: float) -> Augment:
    still = {"rotate": 0.0, "translate": 0.0, "scale": 0.0, "contrast": 0.0, "brightness": 0.0}
    return Augment.model_validate({**still, "flip": False, **values})


def test_gamma_and_spectrum_draw_only_when_they_are_on() -> None:
    images, masks = torch.rand(4, 1, 32, 32), torch.ones(4, 1, 32, 32)
    plain, _ = augment(images, masks, _off(), torch.Generator().manual_seed(1))
    assert torch.allclose(plain, images, atol=1e-5)
    for name in ("gamma", "spectrum"):
        changed, _ = augment(images, masks, _off(**{name: 1.0}), torch.Generator().manual_seed(1))
        assert (changed - images).abs().mean() > 0.01
        assert changed.min() >= 0
        assert changed.max() <= 1


def test_gamma_is_a_power() -> None:
    images, masks = torch.rand(3, 1, 16, 16), torch.ones(3, 1, 16, 16)
    changed, _ = augment(images, masks, _off(gamma=1.0), torch.Generator().manual_seed(1))
    inside = (images > 0.1) & (images < 0.9)
    for before, after, where in zip(images, changed, inside, strict=True):
        power = (after[where].log() / before[where].log()).mean().item()
        assert 0.5 <= power <= 2
        assert torch.allclose(after, before**power, atol=1e-3)


def test_equal_gains_scale_what_is_not_the_mean() -> None:
    images = torch.rand(2, 1, 32, 48, dtype=torch.float64)
    same = change_spectrum(images, torch.ones(2, OCTAVES, dtype=torch.float64))
    assert torch.allclose(same, images, atol=1e-9)
    twice = change_spectrum(images, torch.full((2, OCTAVES), 2.0, dtype=torch.float64))
    assert torch.allclose(twice - 2 * images, (twice - 2 * images).mean((2, 3), keepdim=True))


@pytest.mark.parametrize(("period", "octave"), [(2, 0), (4, 1), (8, 2), (16, 3)])
def test_a_wave_is_scaled_by_its_own_octave(period: int, octave: int) -> None:
    """Against the formula: a pure wave of a known frequency has one gain."""
    x = torch.arange(64, dtype=torch.float64)
    wave = torch.cos(2 * math.pi * x / period).expand(1, 1, 64, 64)
    gains = torch.tensor([[1.3, 0.7, 2.0, 0.5, 1.1, 0.9]], dtype=torch.float64)
    found = change_spectrum(0.5 + 0.1 * wave, gains)
    inner = (slice(None), slice(None), slice(None), slice(20, 44))  # reflection bends the ends
    assert torch.allclose(found[inner], (0.5 + 0.1 * gains[0, octave] * wave)[inner], atol=0.012)
