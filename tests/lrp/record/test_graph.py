"""The record's bookkeeping, and operations whose own vector-Jacobian product is their rule."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isnet_lrp.record.graph import Graph, Local, Op


def test_slots_makers_and_uses() -> None:
    graph = Graph()
    first, second = graph.add_node(), graph.add_node()
    assert (first, second) == (1, 2)
    a, b = Op("a", (0,), (first,)), Op("b", (0, first, first), (second,))
    graph.add(a)
    graph.add(b)
    assert graph.ops == [a, b]
    assert graph.maker == [None, a, b]
    assert graph.uses == [2, 2, 0]


def test_an_operation_without_a_rule_has_no_signal() -> None:
    with pytest.raises(NotImplementedError):
        Op("a", (0,), (1,)).propagate([None])


def product() -> tuple[Local, Tensor, Tensor, Tensor]:
    """y = x·w and z = x², from one x."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    op = Local("both", (0,), (1, 2), inputs=(x,), outputs=(x * w, x**2))
    return op, x, w, torch.randn(4, 2, 3, dtype=torch.float64)


def test_products_of_several_maps_and_outputs() -> None:
    op, x, w, g = product()
    assert torch.allclose(op.propagate([g, None])[0], g * w)
    assert torch.allclose(op.propagate([None, g])[0], g * 2 * x)
    assert torch.allclose(op.propagate([g, 3 * g])[0], g * w + 6 * g * x)
    assert torch.allclose(op.propagate([g[:1], None])[0], g[:1] * w)
    op.part = 0.5
    assert torch.allclose(op.propagate([g, None])[0], 0.5 * g * w)


def test_products_can_be_differentiated_if_gradients_are_on() -> None:
    op, x, _, g = product()
    found = op.propagate([None, g])[0]
    assert found is not None
    (slope,) = torch.autograd.grad(found.sum(), x)
    assert torch.allclose(slope, (2 * g).sum(0))
    with torch.no_grad():
        found = op.propagate([g, None])[0]
    assert found is not None
    assert not found.requires_grad


def test_inputs_that_the_output_does_not_depend_on() -> None:
    x, y = (torch.randn(2, 3, requires_grad=True) for _ in range(2))
    op = Local("first", (0, 1), (2,), inputs=(x, y), outputs=(2 * x,))
    signals = op.propagate([torch.ones(2, 2, 3)])
    assert torch.equal(signals[0], torch.full((2, 2, 3), 2.0))
    assert signals[1] is None
