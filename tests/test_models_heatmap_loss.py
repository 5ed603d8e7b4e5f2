"""The heat-map loss against its slow transcription, by hand, and at its edges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isnet_models.heatmap_loss import (
    HeatmapLossSettings,
    cut_values,
    gwrp,
    heatmap_loss,
    shrink_mask,
)


def slow_loss(H: Tensor, M: Tensor, s: HeatmapLossSettings) -> float:
    """LRP_SPEC section 4 with loops and Python numbers; finite maps, equal sizes."""
    e, total = 1e-10, 0.0
    B, K, C, h, w = H.shape
    for b in range(B):
        L1 = L2 = 0.0
        inside = M[b, 0].bool()
        for k in range(K):
            A = H[b, k].abs()
            lungs = torch.stack([A[c][inside] for c in range(C)])
            mean = lungs.sum().item() / (C * int(inside.sum()) + e)
            for c in range(C):
                U = [
                    0.0 if inside[i, j] else A[c, i, j].item() / (mean + e)
                    for i in range(h)
                    for j in range(w)
                ]
                ranked = sorted(U, reverse=True)
                weights = [s.d**i if not (s.d == 0 and i == 0) else 1.0 for i in range(len(U))]
                r = sum(x * v for x, v in zip(weights, ranked, strict=True)) / sum(weights)
                L1 += -math.log(1 - min(r / (r + s.E), 1 - 1e-7)) / (K * C)
            g = lungs.sum().item()
            left = (min(g / s.C1, 1) - 1) ** 2
            over = max(g - s.C2, 0)
            if s.foreground == "l1":
                right = over
            elif s.foreground == "l2" or over <= s.C1:
                right = (over / s.C1) ** 2
            else:
                right = 1 + over - s.C1
            L2 += (left + right) / K
        total += (s.w1 * L1 + s.w2 * L2) / B
    return total


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    d=st.sampled_from([0.0, 0.5, 0.9, 0.996, 1.0]),
    cuts=st.sampled_from([(0.5, 2.0), (5.0, 9.0), (50.0, 80.0)]),
    form=st.sampled_from(["l2", "hybrid", "l1"]),
)
def test_equals_the_slow_transcription(seed: int, d: float, cuts: tuple, form: str) -> None:
    g = torch.Generator().manual_seed(seed)
    H = torch.randn(2, 2, 2, 5, 4, generator=g, dtype=torch.float64)
    M = (torch.rand(2, 1, 5, 4, generator=g) < 0.5).double()
    M[:, 0, 0, 0], M[:, 0, 0, 1] = 1, 0
    s = HeatmapLossSettings(w1=0.7, w2=1.3, d=d, E=0.8, C1=cuts[0], C2=cuts[1], foreground=form)
    assert heatmap_loss(H, M, s).total.item() == pytest.approx(slow_loss(H, M, s), rel=1e-9)


@pytest.mark.parametrize("d", [0.0, 0.9, 0.99, 0.999, 1.0])
def test_gwrp_value_and_gradient_equal_the_full_sort(d: float) -> None:
    v = torch.rand(3, 4000, dtype=torch.float64, requires_grad=True)
    weights = d ** torch.arange(4000, dtype=torch.float64)
    full = (v.sort(-1, descending=True).values * weights).sum(-1) / weights.sum()
    ours = gwrp(v, d)
    assert torch.allclose(ours, full, rtol=1e-12)
    (a,) = torch.autograd.grad(full.sum(), v)
    (b,) = torch.autograd.grad(ours.sum(), v)
    assert torch.allclose(a, b, atol=1e-12)


def test_gradient_equals_finite_differences() -> None:
    H = torch.randn(2, 2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    M = torch.zeros(2, 1, 4, 4)
    M[:, :, 1:3, 1:3] = 1
    s = HeatmapLossSettings(C1=2.0, C2=2.5)
    assert torch.autograd.gradcheck(lambda t: heatmap_loss(t, M, s).total, (H,))


def test_images_with_empty_or_full_masks_do_not_count() -> None:
    H = torch.randn(3, 1, 1, 4, 4, requires_grad=True)
    M = torch.zeros(3, 1, 4, 4)
    M[1] = 1
    M[2, :, :2] = 1
    s = HeatmapLossSettings()
    result = heatmap_loss(H, M, s)
    assert result.counted.item() == 1
    assert result.total.item() == pytest.approx(heatmap_loss(H[2:], M[2:], s).total.item())
    result.total.backward()
    assert H.grad[:2].abs().max() == 0
    assert H.grad[2].abs().max() > 0
    nobody = heatmap_loss(H[:2], M[:2], s)
    assert nobody.total.item() == 0
    assert nobody.counted.item() == 0


def test_background_relevance_costs_and_scale_does_not() -> None:
    M = torch.zeros(1, 1, 8, 8)
    M[..., 2:6, 2:6] = 1
    inside, outside = M[:, None].clone(), 1 - M[:, None]
    s = HeatmapLossSettings(w2=0.0)
    values = [heatmap_loss(inside + a * outside, M, s).total.item() for a in (0, 0.1, 1, 10)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(0, abs=1e-6)
    scaled = heatmap_loss(100 * (inside + outside), M, s).total.item()
    assert scaled == pytest.approx(values[2], rel=1e-5)


def test_non_finite_relevance_is_replaced() -> None:
    M = torch.zeros(1, 1, 4, 4)
    M[..., :2] = 1
    H = torch.ones(1, 1, 1, 4, 4)
    H[..., 0, 0], H[..., 0, 3], H[..., 1, 3] = math.nan, math.inf, -math.inf
    total = heatmap_loss(H, M, HeatmapLossSettings()).total
    assert math.isfinite(total.item())


def test_a_cell_with_any_lung_is_lung() -> None:
    M = torch.zeros(1, 1, 8, 8)
    M[..., 3, 3] = 1
    small = shrink_mask(M, (2, 2))
    assert small.tolist() == [[[[1.0, 0.0], [0.0, 0.0]]]]


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[B, K', C, h, w\]"):
        heatmap_loss(torch.rand(2, 1, 4, 4), torch.ones(2, 1, 4, 4), HeatmapLossSettings())


def test_cut_values_by_hand() -> None:
    totals = torch.tensor([8.0, 10.0, 12.0])  # mean 10, s.d. 2
    C1, C2 = cut_values(totals)
    assert pytest.approx(4.0) == C1  # max(2, 10 - 6)
    assert pytest.approx(16.0) == C2  # min(100, 10 + 6)
