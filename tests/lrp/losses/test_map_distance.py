"""The distance of maps, against loops over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isnet_lrp.losses.map_distance import map_distance


def maps(size: int = 36) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 1, size, size + 4, generator=g).double() for _ in range(2))


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    found = []
    while True:
        size = math.sqrt(np.mean(np.abs(a)) * np.mean(np.abs(b))) + 1e-10
        found.append(np.mean(np.abs(a / size - b / size)))
        if min(a.shape) // 2 < 8:
            return float(np.mean(found))
        h, w = (n // 2 for n in a.shape)
        a, b = (
            np.array([[m[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() for x in range(w)]
                      for y in range(h)])
            for m in (a, b)
        )  # fmt: skip


def test_the_distance_equals_its_transcription() -> None:
    a, b = maps()
    expected = [by_hand(a[i, 0].numpy(), b[i, 0].numpy()) for i in range(2)]
    assert map_distance(a, b).tolist() == pytest.approx(expected)
    assert map_distance(a, b, pyramid=False)[0].item() != pytest.approx(expected[0], rel=1e-3)


def test_a_common_factor_leaves_no_trace_and_one_s_own_costs() -> None:
    a, b = maps()
    near = map_distance(a, a + 0.1 * b)
    assert torch.allclose(map_distance(7 * a, 7 * (a + 0.1 * b)), near)
    for factor in (1e-3, 1e3):  # a vanishing map is as far away as an exploding one
        assert (map_distance(factor * a, a + 0.1 * b) > 10 * near).all()
    assert map_distance(a, a).tolist() == [0, 0]


def test_gradients_are_those_of_finite_differences() -> None:
    a, b = (m[:1, :, :17, :18].clone().requires_grad_() for m in maps())
    assert torch.autograd.gradcheck(map_distance, (a, b))


def test_zero_maps_are_finite() -> None:
    a, _ = maps(8)
    zero = torch.zeros_like(a).requires_grad_()
    found = map_distance(zero, torch.zeros_like(a))
    assert found.tolist() == [0, 0]
    gradient = torch.autograd.grad(map_distance(zero, a).sum(), zero)[0]
    assert torch.isfinite(gradient).all()
