"""What a map explains: choices by frequency, signals at the logits by hand and by gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from isnet_lrp import RelevanceError
from isnet_lrp.targets import (
    Begin,
    choose_classes,
    choose_stochastic,
    make_one_hot,
    start_with_gradient,
    start_with_logits,
    start_with_sites,
)

LOGITS = torch.tensor([[1.0, -1.0, 0.5, 3.0], [0.2, 2.0, -0.7, 0.1]], dtype=torch.float64)


def test_stochastic_choice_frequencies() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]]).repeat(20000, 1)
    chosen = choose_stochastic(logits, 0.5, torch.Generator().manual_seed(0))
    shares = torch.bincount(chosen, minlength=4) / len(chosen)
    assert torch.allclose(shares, torch.tensor([1 / 6, 1 / 2, 1 / 6, 1 / 6]), atol=0.015)
    assert choose_stochastic(torch.zeros(3, 1), 0.5, None).tolist() == [0, 0, 0]
    assert (choose_stochastic(logits, 1.0, None) == 1).all()
    assert (choose_stochastic(logits, 0.0, None) != 1).all()


def test_every_image_is_drawn_for_itself() -> None:
    """Unlike the published code, which throws one coin for a batch (docs/lrp.md, section 2.9)."""
    chosen = choose_stochastic(LOGITS[:1].repeat(64, 1), 0.5, torch.Generator().manual_seed(0))
    assert len(set(chosen.tolist())) == 4


def test_chosen_classes() -> None:
    given = torch.tensor([2, 0])
    assert choose_classes(LOGITS, "predicted").tolist() == [3, 1]
    assert choose_classes(LOGITS, "max-probability").tolist() == [3, 1]
    assert choose_classes(LOGITS, "selective").tolist() == [1, 2]
    assert choose_classes(LOGITS, "selective", classes=given).tolist() == [2, 0]
    assert choose_classes(LOGITS, given).tolist() == [2, 0]
    assert choose_classes(LOGITS, given.int()).dtype == torch.int64
    with pytest.raises(RelevanceError, match="expected one of"):
        choose_classes(LOGITS, "smallest")  # type: ignore[arg-type]


def test_which_logits_a_map_explains() -> None:
    every = make_one_hot(LOGITS, "all", None)
    assert every.shape == (4, 2, 4)
    for k in range(4):
        assert torch.equal(every[k], torch.eye(4).double()[k].expand(2, 4))
    assert torch.equal(
        make_one_hot(LOGITS, "every-logit-at-once", None), torch.ones(1, 2, 4).double()
    )
    one = make_one_hot(LOGITS, "predicted", torch.tensor([3, 1]))
    assert one.dtype == torch.float64
    assert torch.equal(one, torch.tensor([[[0, 0, 0, 1], [0, 1, 0, 0]]]).double())


@pytest.mark.parametrize("delta", [1e-7, 0.01, 1.0])
def test_the_selective_signal_is_the_gradient_of_its_quantity(delta: float) -> None:
    """ln(p + delta) - ln(1 - p + delta) (docs/lrp.md, section 3.3)."""
    classes = torch.tensor([1, 0])
    y = LOGITS.clone().requires_grad_()
    p = y.softmax(1)[torch.arange(2), classes]
    q = torch.log(p + delta) - torch.log(1 - p + delta)
    (slope,) = torch.autograd.grad(q.sum(), y)
    assert torch.allclose(
        start_with_gradient(Begin(LOGITS, "selective", classes, delta=delta))[0], slope, atol=1e-12
    )


def test_the_selective_signal_is_bounded_for_a_class_of_no_chance() -> None:
    logits = torch.tensor([[-400.0, 400.0]])
    seed = start_with_gradient(Begin(logits, "selective", torch.tensor([0]), delta=0.01))
    assert torch.isfinite(seed).all()
    assert seed.abs().max() < 1e-6
    assert torch.isfinite(
        start_with_sites(Begin(logits, "selective", torch.tensor([0]), 0.01))
    ).all()


def slow_block_selective(y: Tensor, c: int, epsilon: float) -> list[float]:
    """docs/lrp.md, section 2.10 in loops: signal of one image's logits."""
    K = len(y)
    Z = [float(y[c] - y[k]) for k in range(K)]
    D = sum(math.exp(-z) for z in Z) - 1
    signal = [0.0] * K
    for k in range(K):
        p = math.exp(-Z[k]) / (D + 1e-5)
        s = Z[k] * p / (Z[k] + (epsilon if Z[k] >= 0 else -epsilon))
        signal[c] += s
        signal[k] -= s
    return signal


@pytest.mark.parametrize("epsilon", [0.01, 1.0])
def test_the_block_signals_by_loops(epsilon: float) -> None:
    classes = torch.tensor([1, 0])
    found = start_with_sites(Begin(LOGITS, "selective", classes, epsilon))[0]
    slow = [slow_block_selective(y, int(c), epsilon) for y, c in zip(LOGITS, classes, strict=True)]
    assert torch.allclose(found, torch.tensor(slow, dtype=torch.float64), atol=1e-12)
    factor = LOGITS.abs() / (LOGITS.abs() + epsilon)
    every = start_with_sites(Begin(LOGITS, "all", None, epsilon))
    assert torch.allclose(every, torch.eye(4).double()[:, None] * factor)
    at_once = start_with_sites(Begin(LOGITS, "every-logit-at-once", None, epsilon))
    assert torch.allclose(at_once[0], factor)


@pytest.mark.parametrize("target", ["all", "selective"])
def test_block_signals_have_the_correction_for_biases(target: str) -> None:
    """Moving every logit by its bias must not move the signal (docs/lrp.md, sections 2.9, 2.12)."""
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    y = LOGITS + bias
    classes = torch.tensor([1, 0]) if target == "selective" else None
    corrected = start_with_sites(Begin(y, target, classes, 0.3, zero=bias.detach() - bias))  # type: ignore[arg-type]
    plain = start_with_sites(Begin(y, target, classes, 0.3))  # type: ignore[arg-type]
    assert torch.allclose(corrected, plain)
    weights = torch.randn(corrected.shape, dtype=torch.float64)
    assert torch.autograd.grad((plain * weights).sum(), bias)[0].abs().max() > 1e-3
    assert torch.autograd.grad((corrected * weights).sum(), bias)[0].abs().max() < 1e-15


def test_signal_of_the_largest_probability_is_its_gradient() -> None:
    y = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(y.softmax(1).amax(1).sum(), y)
    seed = start_with_gradient(Begin(LOGITS, "max-probability", LOGITS.argmax(1), delta=0.01))
    assert torch.allclose(seed[0], gradient, atol=1e-15)
    assert seed.abs().sum() > 0.1


def test_relevance_starts_with_the_logits() -> None:
    every = start_with_logits(Begin(LOGITS, "all", None))
    assert torch.equal(every.sum(0), LOGITS)
    one = start_with_logits(Begin(LOGITS, "predicted", torch.tensor([3, 1])))
    assert one.sum(2).tolist() == [[3.0, 2.0]]
    begin = Begin(LOGITS, "selective", torch.tensor([1, 0]))
    assert torch.equal(start_with_logits(begin), LOGITS * start_with_sites(begin))
