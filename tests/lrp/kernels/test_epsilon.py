"""One epsilon site: its factor by hand, its derivative against the formula written plainly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isnet_lrp.kernels.epsilon import (
    apply_epsilon_factor,
    apply_recomputed_factor,
    other_axes,
    per_channel,
    stabilise,
)

SHAPES = [(2, 3), (2, 3, 4), (2, 3, 4, 5)]


def plain(
    g: Tensor, t: Tensor, epsilon: float, zero: Tensor | None, scale: Tensor | None
) -> Tensor:
    """scale·g·t/(z + epsilon·sgn z), z = t + zero, by torch's own operations."""
    z = t if zero is None else t + per_channel(zero, t)
    sign = torch.where(t.detach() >= 0, 1.0, -1.0).to(t.dtype)
    factor = t / (z + epsilon * sign)
    return g * factor if scale is None else g * factor * per_channel(scale, t)


def inputs(shape: tuple[int, ...], maps: int, positive: bool) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(shape) + maps)
    t = torch.randn(shape, dtype=torch.float64, generator=generator)
    t = t.clamp(min=0) if positive else t
    g = torch.randn(maps, *shape, dtype=torch.float64, generator=generator)
    scale = torch.randn(shape[1], dtype=torch.float64, generator=generator)
    found = {"g": g, "t": t, "scale": scale, "zero": torch.zeros(shape[1], dtype=torch.float64)}
    return {name: value.requires_grad_() for name, value in found.items()}


def test_the_sign_of_zero_is_positive() -> None:
    z = torch.tensor([-1.0, -0.0, 0.0, 2.0], dtype=torch.float64)
    expected = torch.tensor([-1.25, 0.25, 0.25, 2.25], dtype=torch.float64)
    assert torch.equal(stabilise(z, 0.25), expected)


def test_by_hand() -> None:
    g = torch.tensor([[[1.0, 10.0, -4.0]]])
    t = torch.tensor([[0.5, -1.5, 0.0]])
    assert torch.allclose(apply_epsilon_factor(g, t, 0.5), torch.tensor([[[0.5, 7.5, 0.0]]]))
    assert torch.allclose(
        apply_epsilon_factor(g, t.abs(), 0.5, positive=True), torch.tensor([[[0.5, 7.5, 0.0]]])
    )


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("maps", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_derivatives(
    shape: tuple[int, ...], maps: int, positive: bool, scale: bool, zero: bool
) -> None:
    p = inputs(shape, maps, positive)
    z, s = p["zero"] if zero else None, p["scale"] if scale else None
    ours = apply_epsilon_factor(p["g"], p["t"], 0.3, z, positive, s)
    theirs = plain(p["g"], p["t"], 0.3, z, s)
    assert torch.allclose(ours, theirs, atol=1e-14)
    leaves = [p["g"], p["t"], *([s] if s is not None else []), *([z] if z is not None else [])]
    u = torch.randn(ours.shape, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(ours, leaves, u), torch.autograd.grad(theirs, leaves, u), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_epsilon_zero_lets_all_pass_but_where_nothing_was_active(shape: tuple[int, ...]) -> None:
    p = inputs(shape, 2, positive=True)
    ours = apply_epsilon_factor(p["g"], p["t"], 0.0, None, True, p["scale"])
    gate = (p["t"] != 0).double()
    assert 0 < gate.mean() < 1
    assert torch.equal(ours, p["g"] * gate * per_channel(p["scale"], p["t"]))
    u = torch.randn(ours.shape, dtype=torch.float64)
    dg, dt, dscale = torch.autograd.grad(
        ours, [p["g"], p["t"], p["scale"]], u, allow_unused=True, materialize_grads=True
    )
    assert torch.allclose(dg, u * gate * per_channel(p["scale"], p["t"]))
    assert not dt.any()
    expected = (u * p["g"] * gate).sum((0, *(axis + 1 for axis in other_axes(p["t"]))))
    assert torch.allclose(dscale, expected)


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_damping_by_another_denominator(epsilon: float) -> None:
    p = inputs((2, 3, 4, 5), 2, positive=True)
    z = torch.where(p["t"] > 0, 1.1 * p["t"] - 0.05, -torch.ones(())).detach()
    found = apply_recomputed_factor(p["g"], p["t"], z, epsilon)
    expected = p["g"] * (p["t"] / stabilise(z, epsilon) if epsilon else (p["t"] != 0))
    assert torch.allclose(found, expected)
    assert torch.isfinite(torch.autograd.grad(found.sum(), p["g"])[0]).all()


def test_half_precision_signals_stay_so() -> None:
    g = torch.randn(2, 3, 4, 5, 5).bfloat16()
    t = torch.randn(3, 4, 5, 5)
    for found in (
        apply_epsilon_factor(g, t, 0.1),
        apply_epsilon_factor(g, t, 0.1, scale=torch.randn(4)),
        apply_recomputed_factor(g, t, t, 0.1),
    ):
        assert found.dtype == torch.bfloat16


def test_float16_does_not_overflow_where_a_unit_is_off() -> None:
    t = torch.zeros(1, 2, 3, dtype=torch.float16, requires_grad=True)
    g = torch.full((2, 1, 2, 3), 0.1, dtype=torch.float16, requires_grad=True)
    u = torch.full_like(g, 1000)  # over epsilon 1e5, beyond the range
    dg, dt = torch.autograd.grad(apply_epsilon_factor(g, t, 0.01, positive=True), [g, t], u)
    assert dg.dtype == dt.dtype == torch.float16
    assert not dg.any()
    torch.testing.assert_close(dt.float(), torch.full((1, 2, 3), 2e4), rtol=2e-3, atol=0)
