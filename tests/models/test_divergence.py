"""Divergences of answers, against sums of probabilities written out."""

from __future__ import annotations

import math

import pytest
import torch

from isnet_models.divergence import average_where, measure_disagreement, measure_divergence


def logits() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return tuple(3 * torch.randn(4, 3, generator=g, dtype=torch.double) for _ in range(2))


def by_hand(p: list[float], q: list[float], several: bool) -> float:
    if several:
        total = 0.0
        for a, b in zip(p, q, strict=True):
            for sign in (1, -1):
                u, v = (1 / (1 + math.exp(-sign * t)) for t in (a, b))
                total += u * math.log(u / v)
        return total / len(p)
    u, v = ([math.exp(t) / sum(map(math.exp, row)) for t in row] for row in (p, q))
    return sum(a * math.log(a / b) for a, b in zip(u, v, strict=True))


@pytest.mark.parametrize("several", [False, True])
def test_divergences_equal_their_sums(several: bool) -> None:
    p, q = logits()
    one = [by_hand(a, b, several) for a, b in zip(p.tolist(), q.tolist(), strict=True)]
    other = [by_hand(b, a, several) for a, b in zip(p.tolist(), q.tolist(), strict=True)]
    assert measure_divergence(p, q, several=several).tolist() == pytest.approx(one)
    both = [(a + b) / 2 for a, b in zip(one, other, strict=True)]
    assert measure_disagreement(p, q, several=several).tolist() == pytest.approx(both)
    assert measure_disagreement(p, p, several=several).tolist() == pytest.approx([0] * 4, abs=1e-12)


@pytest.mark.parametrize("several", [False, True])
def test_gradients_are_those_of_finite_differences(several: bool) -> None:
    p, q = (t.requires_grad_() for t in logits())
    assert torch.autograd.gradcheck(
        lambda a, b: measure_disagreement(a, b, several=several), (p, q)
    )


def test_extreme_logits_stay_finite() -> None:
    p = torch.tensor([[90.0, -90.0]], requires_grad=True)
    for several in (False, True):
        found = measure_disagreement(p, -p.detach(), several=several)
        assert torch.isfinite(found).all()
        assert torch.isfinite(torch.autograd.grad(found.sum(), p)[0]).all()


def test_the_mean_of_some() -> None:
    values = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    some = torch.tensor([True, False, True])
    assert average_where(values, some).item() == pytest.approx(3.5)
    assert average_where(values, torch.zeros(3, dtype=torch.bool)).item() == 0
