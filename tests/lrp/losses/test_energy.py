"""The energy loss: slow transcription, gradients, bounds, scale, zero maps."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_lrp.losses.energy import EnergyLossSettings, energy_loss
from tests.lrp.oracles.losses import slow_energy_loss

CAP = math.log(1 + 1e7)


def example(seed: int, B: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    H = torch.randn(B, 2, 2, 5, 4, generator=g, dtype=torch.float64)
    M = (torch.rand(B, 1, 5, 4, generator=g) < 0.5).double()
    M[:, 0, 0, 0], M[:, 0, 0, 1] = 1, 0
    H[..., 0, 0] = H[..., 0, 0].abs() + 0.01
    return H, M


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), positive=st.booleans())
def test_equals_the_slow_transcription(seed: int, positive: bool) -> None:
    H, M = example(seed)
    result = energy_loss(H, M, EnergyLossSettings(positive_only=positive))
    assert result.total.item() == pytest.approx(slow_energy_loss(H, M, positive), rel=1e-10)
    assert result.background.item() == result.total.item()
    assert result.foreground.item() == 0
    assert result.per_image.mean().item() == pytest.approx(result.total.item())
    assert result.counted.item() == 2


def test_the_margin_counts_for_neither_side() -> None:
    H, _ = example(3)
    M = torch.zeros(2, 1, 20, 16)
    M[:, :, 8:11, 7:9] = 1
    s = EnergyLossSettings(margin=0.2)  # 4 of 16 px
    found = energy_loss(H, M, s).total.item()
    assert found == pytest.approx(slow_energy_loss(H, M, False, 0.2), rel=1e-10)
    assert found < energy_loss(H, M).total.item()
    with pytest.raises(ValueError, match=r"margin = 0\.3: must be from 0 to 0\.25"):
        EnergyLossSettings(margin=0.3)


def test_masks_are_resized() -> None:
    H, _ = example(1)
    M = torch.zeros(2, 1, 10, 12)
    M[..., 3:5, 6:7] = 1
    assert energy_loss(H, M).total.item() == pytest.approx(slow_energy_loss(H, M, False))


@pytest.mark.parametrize("positive", [False, True])
def test_gradient_equals_finite_differences(positive: bool) -> None:
    H, M = example(5)
    s = EnergyLossSettings(positive_only=positive)
    assert torch.autograd.gradcheck(lambda t: energy_loss(t, M, s).total, (H.requires_grad_(),))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(-6, 6), more=st.floats(0.01, 10))
def test_scale_free_bounded_and_monotone(seed: int, scale: float, more: float) -> None:
    H, M = example(seed)
    value = energy_loss(H, M).total.item()
    assert 0 < value < CAP
    assert energy_loss(10**scale * H, M).total.item() == pytest.approx(value, rel=1e-9)
    outside = H + more * torch.sign(H) * (1 - M[:, None])
    inside = H + more * torch.sign(H) * M[:, None]
    assert energy_loss(outside, M).total.item() > value > energy_loss(inside, M).total.item()


def test_all_inside_costs_nothing_and_all_outside_the_most() -> None:
    M = torch.zeros(1, 1, 4, 4)
    M[..., :2] = 1
    inside, outside = M[:, None].clone().requires_grad_(), (1 - M[:, None]).requires_grad_()
    assert energy_loss(inside, M).total.item() == 0
    worst = energy_loss(outside, M).total
    assert worst.item() == pytest.approx(CAP, rel=1e-6)
    worst.backward()
    assert outside.grad is not None
    assert outside.grad.isfinite().all()
    assert (outside.grad * (1 - M[:, None])).max() > 0  # less outside still helps


def test_a_map_without_relevance_is_charged_as_a_uniform_one() -> None:
    _, M = example(2)
    zero = torch.zeros(2, 2, 2, 5, 4, requires_grad=True)
    uniform = energy_loss(torch.ones(2, 2, 2, 5, 4), M).total.item()
    result = energy_loss(zero, M)
    assert result.total.item() == pytest.approx(uniform, rel=1e-6)
    result.total.backward()
    assert zero.grad is not None
    assert zero.grad.abs().max() == 0
    negative = energy_loss(-torch.ones(2, 2, 2, 5, 4), M, EnergyLossSettings(positive_only=True))
    assert negative.total.item() == pytest.approx(uniform, rel=1e-6)


@pytest.mark.parametrize("size", [1e-42, 1e-38, 1e-30, 1e-18, 1e-10, 1e30, math.inf, math.nan])
def test_gradients_are_finite_at_every_scale(size: float) -> None:
    H, M = example(3)
    H = (H * size).float().requires_grad_()
    total = energy_loss(H, M).total
    total.backward()
    assert total.isfinite()
    assert H.grad is not None
    assert H.grad.isfinite().all()


def test_images_with_empty_or_full_masks_do_not_count() -> None:
    H, M = example(4, B=3)
    M[0], M[1] = 0, 1
    H.requires_grad_()
    result = energy_loss(H, M)
    assert result.counted.item() == 1
    assert result.total.item() == pytest.approx(slow_energy_loss(H[2:], M[2:], False))
    assert result.per_image[:2].tolist() == [0, 0]
    result.total.backward()
    assert H.grad is not None
    assert H.grad[:2].abs().max() == 0
    kept = energy_loss(H, M, EnergyLossSettings(keep_degenerate=True))
    assert kept.counted.item() == 3
    assert kept.per_image.tolist()[:2] == pytest.approx([CAP, 0.0])
