"""The heat-map loss against its slow transcription, its derivatives, and at its edges."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_lrp.losses.heatmap import HeatmapLoss, HeatmapLossSettings, estimate_range, heatmap_loss
from tests.lrp.oracles.losses import slow_heatmap_loss

NORMS, FORMS = ("absolute", "signed", "none"), ("l2", "hybrid", "l1")
BOTH = list(product(NORMS, FORMS))
RANGES = [(0.5, 2.0), (5.0, 9.0), (50.0, 80.0), ((5.0, 0.5), (9.0, 30.0)), (4.0, (5.0, 9.0))]


def example(seed: int, B: int = 2, K: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    H = torch.randn(B, K, 2, 5, 4, generator=g, dtype=torch.float64)
    M = (torch.rand(B, 1, 5, 4, generator=g) < 0.5).double()
    M[:, 0, 0, 0], M[:, 0, 0, 1] = 1, 0
    return H, M


@st.composite
def constants(draw: st.DrawFn) -> HeatmapLossSettings:
    C1, C2 = draw(st.sampled_from(RANGES))
    return HeatmapLossSettings(
        background_weight=draw(st.sampled_from([0.0, 0.7])),
        foreground_weight=draw(st.sampled_from([0.0, 1.3])),
        decay=draw(st.sampled_from([0.0, 0.5, 0.9, 0.996, 1.0])),
        share=draw(st.sampled_from([None, None, 0.01, 0.2, 1.0])),
        margin=draw(st.sampled_from([0.0, 0.1, 0.25])),
        saturation=draw(st.sampled_from([0.8, 10.0])),
        low=C1, high=C2, foreground=draw(st.sampled_from(FORMS)), norm=draw(st.sampled_from(NORMS)),
        channel_decay=draw(st.sampled_from([0.0, 0.6, 1.0])),
    )  # fmt: skip


def smooth_scene(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same map and lungs at `side` px."""
    at = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    y, x = torch.meshgrid(at, at, indexing="ij")
    H = torch.sin(7 * x + 3 * y) * torch.cos(11 * y - 2 * x) + 0.3
    M = ((x - 0.5).abs() < 0.3) & ((y - 0.5).abs() < 0.35)
    return H[None, None, None], M.double()[None, None]


def compare(result: HeatmapLoss, H: torch.Tensor, M: torch.Tensor, s: HeatmapLossSettings) -> None:
    total, L1, L2, per_image = slow_heatmap_loss(H, M, s)
    assert result.total.item() == pytest.approx(total, rel=1e-9)
    assert result.background.item() == pytest.approx(L1, rel=1e-9)
    assert result.foreground.item() == pytest.approx(L2, rel=1e-9)
    assert result.per_image.tolist() == pytest.approx(per_image, rel=1e-9)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), s=constants(), K=st.sampled_from([2, 4]))
def test_equals_the_slow_transcription(seed: int, s: HeatmapLossSettings, K: int) -> None:
    H, M = example(seed, K=K)
    compare(heatmap_loss(H, M, s), H, M, s)


@pytest.mark.parametrize("size", [(10, 12), (13, 7), (2, 2)])
def test_masks_of_another_size(size: tuple[int, int]) -> None:
    H, _ = example(3)
    M = torch.zeros(2, 1, *size)
    M[0, 0, 0, -1], M[1, 0, -1, 0] = 1, 1
    s = HeatmapLossSettings(low=5.0, high=9.0)
    compare(heatmap_loss(H, M, s), H, M, s)


@pytest.mark.parametrize(("norm", "form"), BOTH)
def test_non_finite_relevance(norm: str, form: str) -> None:
    H, M = example(4)
    H[0, 0, 0, 0, 0], H[0, 1, 1, 2, 2], H[1, 0, 0, 4, 3] = math.nan, math.inf, -math.inf
    s = HeatmapLossSettings(low=5.0, high=9.0, norm=norm, foreground=form)
    H.requires_grad_()
    result = heatmap_loss(H, M, s)
    compare(result, H, M, s)
    result.total.backward()
    assert H.grad is not None
    assert H.grad.isfinite().all()


def test_a_share_and_a_margin_mean_the_same_at_every_resolution() -> None:
    s = HeatmapLossSettings(share=0.04, margin=0.05, foreground_weight=0.0)
    small, large = (heatmap_loss(*smooth_scene(side), s).total.item() for side in (40, 160))
    assert large == pytest.approx(small, rel=0.03)
    H, M = smooth_scene(40)
    compare(heatmap_loss(H, M, s), H, M, s)


def test_the_margin_is_no_background_and_no_lung() -> None:
    M = torch.zeros(1, 1, 20, 20)
    M[..., 8:12, 8:12] = 1
    H = torch.zeros(1, 1, 1, 20, 20)
    H[..., 9, 9] = 1.0
    H[..., 13, 13] = 5.0  # two pixels from the lungs
    wide = HeatmapLossSettings(margin=0.1, low=1.0, high=9.0)
    near = HeatmapLossSettings(margin=0.05, low=1.0, high=9.0)
    assert heatmap_loss(H, M, wide).background.item() == 0
    assert heatmap_loss(H, M, near).background.item() > 0.3
    assert heatmap_loss(H, M, wide).foreground.item() == 0
    assert heatmap_loss(5 * H, M, wide).foreground.item() == 0  # 5 inside; 30 with the margin


def test_a_margin_over_everything_leaves_no_background() -> None:
    H, M = example(5)
    H.requires_grad_()
    for share in (None, 0.1):
        s = HeatmapLossSettings(margin=0.25, share=share)
        full = torch.ones_like(M)
        full[..., 0, 0] = 0
        result = heatmap_loss(H, full, s)
        assert (result.background.item(), result.counted.item()) == (0, 2)
        (g,) = torch.autograd.grad(result.total, H)
        assert g.isfinite().all()


def test_without_an_upper_bound_any_amount_of_relevance_is_free() -> None:
    H, M = example(6)
    H = (1e6 * H).requires_grad_()
    for form in FORMS:
        for high in (math.inf, (math.inf, math.inf)):
            s = HeatmapLossSettings(low=2.0, high=high, foreground=form, background_weight=0.0)
            result = heatmap_loss(H, M, s)
            assert result.foreground.item() == 0
            (g,) = torch.autograd.grad(result.total, H)
            assert (g == 0).all()
    little = HeatmapLossSettings(low=2.0, high=math.inf)
    assert heatmap_loss(1e-9 * H, M, little).foreground.item() == pytest.approx(1, rel=0.1)


QUICK = {("absolute", "hybrid", 1.0), ("signed", "l2", 0.5), ("none", "l1", 0.5)}
GRADIENTS = [
    pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow])
    for case in ((*both, channel_d) for both in BOTH for channel_d in (0.5, 1.0))
]


@pytest.mark.parametrize(("norm", "form", "channel_d"), GRADIENTS)
def test_gradient_equals_finite_differences(norm: str, form: str, channel_d: float) -> None:
    H, M = example(11, B=1)
    for C1, C2 in ((30.0, 40.0), (4.0, 4.5), (4.0, 9.0), ((30.0, 4.0), (40.0, 9.0))):
        s = HeatmapLossSettings(
            low=C1,
            high=C2,
            norm=norm,
            foreground=form,
            channel_decay=channel_d,
            foreground_weight=0.5,
            share=0.3 if channel_d < 1 else None,
            margin=0.2 if form == "hybrid" else 0.0,
        )
        assert torch.autograd.gradcheck(
            lambda t, s=s: heatmap_loss(t, M, s).total, (H.requires_grad_(),)
        )


@pytest.mark.parametrize("form", FORMS)
def test_the_foreground_loss_by_hand(form: str) -> None:
    M = torch.zeros(1, 1, 2, 2)
    M[..., 0] = 1

    def loss(g: float) -> float:
        H = torch.zeros(1, 1, 1, 2, 2)
        H[..., 0, 0], H[..., 1, 0] = g / 4, -3 * g / 4
        s = HeatmapLossSettings(low=2.0, high=10.0, foreground=form)
        return heatmap_loss(H, M, s).foreground.item()

    assert [loss(g) for g in (0.0, 0.5, 2.0, 6.0, 10.0)] == [1.0, 0.5625, 0.0, 0.0, 0.0]
    expected = {"l1": [1.0, 4.0], "l2": [0.25, 4.0], "hybrid": [0.25, 3.0]}[form]
    assert [loss(11.0), loss(14.0)] == expected


def test_a_pair_of_ranges_belongs_to_the_halves_of_the_class_axis() -> None:
    H, M = example(8)
    both = HeatmapLossSettings(low=(1.0, 30.0), high=(2.0, 40.0))
    first, second = (HeatmapLossSettings(low=c, high=C) for c, C in ((1.0, 2.0), (30.0, 40.0)))
    parts = [
        heatmap_loss(H[:, :1], M, first).foreground,
        heatmap_loss(H[:, 1:], M, second).foreground,
    ]
    found = heatmap_loss(H, M, both).foreground.item()
    assert found == pytest.approx((parts[0] + parts[1]).item() / 2)
    with pytest.raises(ValueError, match=r"for 1 map\(s\) per image: pairs belong to"):
        heatmap_loss(H[:, :1], M, both)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    d=st.floats(0, 1),
    norm=st.sampled_from(["absolute", "signed"]),
    more=st.floats(0.01, 10),
    scale=st.floats(-3, 3),
)
def test_background_relevance_costs_and_scale_does_not(
    seed: int, d: float, norm: str, more: float, scale: float
) -> None:
    H, M = example(seed)
    s = HeatmapLossSettings(foreground_weight=0.0, decay=d, norm=norm)
    value = heatmap_loss(H, M, s).total.item()
    assert 0 <= value <= -math.log(1 - (1 - 1e-7))
    louder = H + more * torch.sign(H) * (1 - M[:, None])
    assert heatmap_loss(louder, M, s).total.item() > value * (1 - 1e-12)
    assert heatmap_loss(10**scale * H, M, s).total.item() == pytest.approx(value, rel=1e-4)
    none = heatmap_loss(H * M[:, None], M, s).total.item()
    assert none == 0


@pytest.mark.parametrize("d", [0.0, 0.9, 1.0])
def test_without_norm_scale_does_count(d: float) -> None:
    H, M = example(2)
    s = HeatmapLossSettings(foreground_weight=0.0, decay=d, norm="none")
    assert heatmap_loss(2 * H, M, s).total > heatmap_loss(H, M, s).total


def test_a_weight_of_zero_drops_its_term() -> None:
    H, M = example(6)
    H = H.requires_grad_()
    full = heatmap_loss(H, M, HeatmapLossSettings(background_weight=2.0, foreground_weight=3.0))
    back = heatmap_loss(H, M, HeatmapLossSettings(background_weight=2.0, foreground_weight=0.0))
    fore = heatmap_loss(H, M, HeatmapLossSettings(background_weight=0.0, foreground_weight=3.0))
    assert back.total.item() == pytest.approx(2 * full.background.item())
    assert fore.total.item() == pytest.approx(3 * full.foreground.item())
    assert [back.foreground.item(), fore.background.item()] == [
        full.foreground.item(), full.background.item(),
    ]  # fmt: skip
    grads = [torch.autograd.grad(part.total, H)[0] for part in (full, back, fore)]
    assert torch.allclose(grads[0], grads[1] + grads[2], rtol=1e-9)
    nothing = heatmap_loss(
        H, M, HeatmapLossSettings(background_weight=0.0, foreground_weight=0.0)
    ).total
    nothing.backward()
    assert nothing.item() == 0
    assert H.grad is not None
    assert H.grad.abs().max() == 0


def test_an_infinite_term_of_weight_zero_does_not_count() -> None:
    H, M = example(6)
    H = (1e34 * H).float().requires_grad_()
    result = heatmap_loss(H, M, HeatmapLossSettings(foreground_weight=0.0, foreground="l2"))
    assert result.foreground.item() == math.inf
    assert 0 < result.total.item() < 16
    result.total.backward()
    assert H.grad is not None
    assert H.grad.isfinite().all()


def test_images_with_empty_or_full_masks_do_not_count() -> None:
    H, M = example(9, B=3)
    M[0], M[1] = 0, 1
    H.requires_grad_()
    s = HeatmapLossSettings()
    result = heatmap_loss(H, M, s)
    assert result.counted.item() == 1
    assert result.counted.dim() == 0
    assert result.total.item() == pytest.approx(heatmap_loss(H[2:], M[2:], s).total.item())
    assert result.per_image[:2].tolist() == [0, 0]
    assert result.per_image[2].item() == pytest.approx(result.total.item())
    result.total.backward()
    assert H.grad is not None
    assert H.grad[:2].abs().max() == 0
    assert H.grad[2].abs().max() > 0
    nobody = heatmap_loss(H[:2], M[:2], s)
    assert (nobody.total.item(), nobody.counted.item()) == (0, 0)


def test_an_image_that_does_not_count_changes_nothing_whatever_it_holds() -> None:
    H, M = example(9, B=3)
    M[0], M[1] = 0, 1
    s = HeatmapLossSettings()
    expected = heatmap_loss(H[2:], M[2:], s).total.item()
    for bad in (math.nan, math.inf, 1e300):
        H[0], H[1] = bad, -bad
        H = H.detach().requires_grad_()
        total = heatmap_loss(H, M, s).total
        assert total.item() == pytest.approx(expected, rel=1e-12)
        (g,) = torch.autograd.grad(total, H)
        assert g.isfinite().all()
        H = H.detach()


def test_degenerate_images_count_where_asked_to() -> None:
    H, M = example(9, B=3)
    M[0], M[1] = 0, 1
    s = HeatmapLossSettings(keep_degenerate=True)
    result = heatmap_loss(H, M, s)
    assert result.counted.item() == 3
    compare(result, H, M, s)
    assert result.per_image[0].item() == pytest.approx(16.118095651 + 1)


def test_zero_maps_cost_their_missing_relevance_and_have_no_gradient() -> None:
    _, M = example(1)
    for norm in NORMS:
        H = torch.zeros(2, 2, 2, 5, 4, requires_grad=True)
        result = heatmap_loss(H, M, HeatmapLossSettings(norm=norm))
        assert (result.background.item(), result.foreground.item()) == (0, 1)
        result.total.backward()
        assert H.grad is not None
        assert H.grad.abs().max() == 0


def test_a_vanishing_softness_does_not_divide_zero_by_zero() -> None:
    _, M = example(1)
    H = torch.zeros(2, 2, 2, 5, 4, requires_grad=True)
    result = heatmap_loss(H, M, HeatmapLossSettings(saturation=1e-44, norm="none"))
    result.total.backward()
    assert result.background.item() == 0
    assert H.grad is not None
    assert H.grad.abs().max() == 0


@pytest.mark.parametrize(("norm", "form"), BOTH)
@pytest.mark.parametrize("size", [1e-30, 1e-8, 1.0, 1e30, 3e38])
def test_gradients_are_never_nan(norm: str, form: str, size: float) -> None:
    H, M = example(12)
    H[0] *= 1 - M[0]  # nothing inside: the background loss is at its cap
    H = (H * size).float().requires_grad_()
    result = heatmap_loss(H, M, HeatmapLossSettings(norm=norm, foreground=form))
    result.total.backward()
    assert H.grad is not None
    assert not H.grad.isnan().any()
    assert not result.total.isnan()
    assert result.background.isfinite()


def test_background_without_foreground_stops_at_the_cap_of_each_type() -> None:
    M = torch.zeros(1, 1, 4, 4)
    M[..., :2] = 1
    for dtype, cap in ((torch.float32, 15.942385), (torch.float64, 16.118096)):
        H = (1 - M[:, None]).to(dtype)
        found = heatmap_loss(H, M, HeatmapLossSettings()).background.item()
        assert found == pytest.approx(cap, rel=1e-7)


def test_precision_is_float32_under_autocast() -> None:
    H, M = example(5)
    s = HeatmapLossSettings()
    expected = heatmap_loss(H.float(), M, s).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = heatmap_loss(H.float(), M, s).total
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"background_weight": -1.0}, "background_weight = -1.0: must be a number >= 0"),
        ({"foreground_weight": math.nan}, "foreground_weight = nan"),
        ({"decay": 1.1}, "decay = 1.1: must be from 0"),
        ({"channel_decay": -0.1}, "channel_decay = -0.1"),
        ({"share": 0.0}, "share = 0.0: must be above 0, up to 1"),
        ({"share": 1.01}, "share = 1.01"),
        ({"share": math.nan}, "share = nan"),
        ({"margin": -0.01}, "margin = -0.01: must be from 0 to 0.25"),
        ({"margin": 0.3}, "margin = 0.3"),
        ({"high": math.nan}, "high = nan"),
        ({"saturation": 0.0}, "saturation = 0.0: must be a number > 0"),
        ({"low": 0.0}, "low = 0.0: must be > 0"),
        ({"low": (1.0, -1.0)}, "low = "),
        ({"low": 2.0, "high": 1.0}, "high = 1.0: must be >= low = 2.0"),
        ({"low": (1.0, 9.0), "high": (2.0, 3.0)}, "high = "),
        ({"foreground": "l3"}, "l2, hybrid or l1"),
        ({"norm": "mean"}, "absolute, signed or none"),
    ],
)
def test_constants_out_of_range_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeatmapLossSettings(**change)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps must be \[B, K', C, h, w\]"):
        heatmap_loss(torch.rand(2, 1, 4, 4), torch.ones(2, 1, 4, 4), HeatmapLossSettings())


def test_estimate_range_is_reached_from_here() -> None:
    assert estimate_range(torch.tensor([8.0, 10.0, 12.0])) == pytest.approx((4.0, 16.0))
