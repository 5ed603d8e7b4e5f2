"""Traced graphs keep what a step detaches detached."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isnet_lrp.record.tracing import is_tracing, trace

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_detached_stays_detached_and_the_rest_does_not() -> None:
    def step(w: Tensor, x: Tensor) -> Tensor:
        y = w * x
        return y.detach() * y + y.view(-1).view(y.shape)

    w = torch.tensor([2.0, -1.0], requires_grad=True)
    x = torch.tensor([3.0, 0.5])
    graph = trace(step, w.detach().requires_grad_(), x)
    assert torch.equal(graph(w, x), step(w, x))
    (mine,) = torch.autograd.grad(graph(w, x).sum(), w)
    assert torch.equal(mine, (w * x * x + x).detach())


def test_values_are_out_of_reach_only_while_tracing() -> None:
    seen: list[bool] = []

    def step(x: Tensor) -> Tensor:
        seen.append(is_tracing())
        return x + 1

    trace(step, torch.zeros(2))
    step(torch.zeros(2))
    assert seen == [True, False]
    assert not is_tracing()


def test_arguments_are_left_alone() -> None:
    x = torch.zeros(2)
    graph = trace(lambda x: x.add_(1), x)
    assert torch.equal(x, torch.zeros(2))
    graph(x)
    assert torch.equal(x, torch.ones(2))
