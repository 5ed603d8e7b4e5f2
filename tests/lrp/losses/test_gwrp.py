"""GWRP without a full sort: value and gradient, ties, edges, properties."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_lrp.losses.gwrp import count_leading, gwrp, gwrp_of_share, sum_weights
from tests.lrp.oracles.losses import weighted_rank_mean

DECAYS = [0.0, 0.5, 0.9, 0.99, 0.996, 0.999, 1.0]
SIDE = 96


def sorted_in_full(values: torch.Tensor, d: float) -> torch.Tensor:
    """The definition, in float64."""
    n = values.shape[-1]
    weights = torch.tensor([1.0 if i == 0 else d**i for i in range(n)], dtype=torch.float64)
    ranked = values.double().sort(-1, descending=True).values
    return (ranked * weights).sum(-1) / weights.sum()


def maps(kind: str, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    flat = torch.rand(2, SIDE * SIDE, generator=generator, dtype=torch.float64)
    if kind == "steep":
        flat = flat**20
    elif kind == "level":  # the case in which the values left out weigh most
        flat = 1 + 1e-4 * flat
    elif kind == "half zero":
        flat = (flat - 0.5).clamp(min=0)
    return flat.to(dtype)


def per_value(gradient: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Gradient summed over equal values, which may share their weights in any order; without 0."""
    sums = []
    for values, slopes in zip(v.detach(), gradient, strict=True):
        some = values > 0  # a map's zeros pass no gradient on
        distinct, place = values[some].unique(return_inverse=True)
        zeros = torch.zeros(len(distinct), dtype=torch.float64)
        sums.append(zeros.index_add(0, place, slopes[some].double()))
    return torch.cat(sums)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", DECAYS)
@pytest.mark.parametrize("kind", ["even", "steep", "level", "half zero"])
def test_value_and_gradient_equal_the_full_sort(kind: str, d: float, dtype: torch.dtype) -> None:
    unit = torch.finfo(dtype).eps
    v = maps(kind, dtype).requires_grad_()
    exact, ours = sorted_in_full(v, d), gwrp(v, d)
    assert ours.dtype == dtype
    assert ((ours.double() - exact).abs() / exact).max() < 8 * unit
    (theirs,) = torch.autograd.grad(exact.sum(), v)
    (mine,) = torch.autograd.grad(ours.sum(), v)
    assert (mine.double().sum(-1) - 1).abs().max() < 8 * unit
    mine, theirs = per_value(mine, v), per_value(theirs, v)
    assert (mine - theirs).abs().max() < 8 * unit * theirs.abs().max()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0, 1e3), min_size=1, max_size=40),
    d=st.one_of(st.sampled_from(DECAYS), st.floats(0, 1)),
)
def test_equals_the_slow_transcription(values: list[float], d: float) -> None:
    ours = gwrp(torch.tensor(values, dtype=torch.float64), d).item()
    assert ours == pytest.approx(weighted_rank_mean(values, d), rel=1e-12, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), d=st.floats(0, 1), more=st.floats(0, 5))
def test_lies_between_mean_and_maximum_and_rises(seed: int, d: float, more: float) -> None:
    v = torch.rand(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    value = gwrp(v, d)
    assert v.mean() - 1e-12 <= value <= v.max() + 1e-12
    shuffled = v[torch.randperm(50, generator=torch.Generator().manual_seed(seed))]
    assert gwrp(shuffled, d).item() == pytest.approx(value.item(), rel=1e-12)
    assert gwrp(3 * v, d).item() == pytest.approx(3 * value.item(), rel=1e-12)
    higher = v.clone()
    higher[seed % 50] += more
    assert gwrp(higher, d) >= value - 1e-12


@pytest.mark.parametrize("d", [0.3, 0.9, 0.999])
def test_ties_share_the_weights_of_their_ranks(d: float) -> None:
    v = torch.tensor([1.0, 5.0, 5.0, 5.0, 2.0], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(gwrp(v, d), v)
    weights = [d**i / sum_weights(5, d) for i in range(5)]
    assert sorted(g[1:4].tolist(), reverse=True) == pytest.approx(weights[:3])
    assert [g[4].item(), g[0].item()] == pytest.approx(weights[3:])


def test_only_negligible_weights_are_left_out() -> None:
    for dtype in (torch.float32, torch.float64):
        for d in (0.5, 0.9, 0.996):
            k = count_leading(10**6, d, dtype)
            assert d**k <= torch.finfo(dtype).eps / 8 <= d ** (k - 1)
    assert count_leading(100, 0.9999, torch.float32) == 100


def test_the_sum_of_weights_is_exact_near_one() -> None:
    n, d = 50_000, 1 - 1e-13
    assert sum_weights(n, d) == pytest.approx(n - n * (n - 1) / 2 * (1 - d), rel=1e-13)
    assert sum_weights(3, 0.5) == pytest.approx(1.75)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0, 1e3), min_size=1, max_size=40),
    zeros=st.integers(0, 60),
    share=st.floats(1e-3, 1),
)
def test_a_share_equals_the_slow_transcription(
    values: list[float], zeros: int, share: float
) -> None:
    n = len(values)
    given_values = torch.tensor([*values, *[0.0] * zeros], dtype=torch.float64)
    ours = gwrp_of_share(given_values, share, torch.tensor(n)).item()
    expected = weighted_rank_mean(values, 1 - 1 / max(share * n, 1))
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [1e-5, 0.001, 0.04, 0.14, 1.0])
def test_a_share_of_a_map_equals_the_full_sort(share: float, dtype: torch.dtype) -> None:
    v = maps("half zero", dtype).requires_grad_()
    n = (v > 0).sum(-1)
    ours = gwrp_of_share(v, share, n)
    exact = torch.stack([
        sorted_in_full(row[row > 0], 1 - 1 / max(share * len(row[row > 0]), 1)) for row in v
    ])  # fmt: skip
    unit = torch.finfo(dtype).eps
    assert ((ours.double() - exact).abs() / exact).max() < 400 * unit
    (theirs,) = torch.autograd.grad(exact.sum(), v)
    (mine,) = torch.autograd.grad(ours.sum(), v)
    mine, theirs = per_value(mine, v), per_value(theirs, v)
    assert (mine - theirs).abs().max() < 400 * unit * theirs.abs().max()


def test_a_share_is_the_same_at_every_resolution() -> None:
    """The same picture with four times the pixels; a fixed decay then rests on a quarter of it."""
    v = maps("steep", torch.float64)
    larger = v.repeat_interleave(4, -1)
    for share in (0.01, 0.04, 0.5):
        small = gwrp_of_share(v, share, torch.tensor(v.shape[-1]))
        large = gwrp_of_share(larger, share, torch.tensor(larger.shape[-1]))
        assert torch.allclose(small, large, rtol=0.01)
    assert (gwrp(larger, 0.99) > 1.02 * gwrp(v, 0.99)).all()


def test_a_share_of_one_value_or_less_is_the_maximum() -> None:
    v = torch.tensor([1.0, 4.0, 2.0], requires_grad=True)
    for share, n in ((0.3, 3), (1e-9, 3), (1.0, 1), (1.0, 0)):
        assert gwrp_of_share(v, share, torch.tensor(n)).item() == pytest.approx(4.0)
    (g,) = torch.autograd.grad(gwrp_of_share(v, 0.3, torch.tensor(3)), v)
    assert g.tolist() == pytest.approx([0, 1, 0], abs=1e-30)
    assert gwrp_of_share(torch.zeros(3), 0.5, torch.tensor(0)).item() == 0
    rows = torch.rand(2, 3, 1, 8)  # one count for each row
    each = gwrp_of_share(rows, 0.5, torch.tensor([8, 4])[:, None, None])
    assert each.shape == (2, 3, 1)
    assert torch.allclose(each[1], gwrp_of_share(rows[1], 0.5, torch.tensor(4)))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, math.nan])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="must lie above 0, up to 1"):
        gwrp_of_share(torch.rand(4), share, torch.tensor(4))
    with pytest.raises(ValueError, match="give at least one"):
        gwrp_of_share(torch.rand(4).half(), 0.5, torch.tensor(4))


def test_gradient_equals_finite_differences() -> None:
    v = torch.randperm(12).double().requires_grad_()
    for share in (0.01, 0.3, 1.0):
        counts = torch.tensor(10)
        assert torch.autograd.gradcheck(lambda t, s=share, n=counts: gwrp_of_share(t, s, n), (v,))
    v = torch.randperm(12).double().requires_grad_()
    for d in (0.0, 0.7, 1.0):
        assert torch.autograd.gradcheck(lambda t, d=d: gwrp(t, d), (v,))


@pytest.mark.parametrize(
    ("values", "d", "message"),
    [
        (torch.rand(3), 1.5, "between 0"),
        (torch.rand(3), math.nan, "between 0"),
        (torch.rand(3).half(), 0.5, "float32 or float64"),
        (torch.rand(2, 0), 0.5, "at least one"),
    ],
)
def test_bad_arguments_are_refused(values: torch.Tensor, d: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gwrp(values, d)
