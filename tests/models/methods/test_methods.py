"""One set of promises for every method in the registry, and for methods with additions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from isnet_models.methods import registry
from isnet_models.methods.base import Method
from tests.models.methods.factory import CASES, Prepared, batch, prepare


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Prepared:
    return prepare(request.param)


def test_every_entry_is_tested() -> None:
    tried = {entry.name for name in CASES for entry in registry.parts(name)}
    assert tried == set(registry.names())


def _begin(method: Method, epoch: int = 0) -> None:
    method.begin_epoch(epoch, torch.Generator().manual_seed(7 + epoch))


def _gradients(net: nn.Module) -> list[torch.Tensor]:
    return [p.grad for p in net.parameters() if p.grad is not None]


def test_steps_lower_the_loss_with_finite_gradients(case: Prepared) -> None:
    torch.manual_seed(0)
    net, method, data = case.net.train(), case.method, batch(size=case.size)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-3)
    values = []
    for _ in range(12 if case.name == "vit" else 5):  # the ViT's loss rises at first
        _begin(method)  # the same chance in every step: the same loss is lowered
        losses = method.losses(net, data, 0)
        optimizer.zero_grad()
        losses.total.backward()
        assert len(_gradients(net)) > 4
        assert all(torch.isfinite(g).all() for g in _gradients(net))
        optimizer.step()
        values.append(losses.total.item())
        assert losses.logits.shape == (6, 3)
        assert all(not v.requires_grad and v.dim() == 0 for v in losses.parts.values())
    assert values[-1] < 0.9 * values[0]


def test_losses_without_gradient(case: Prepared) -> None:
    """Validation uses no chance and keeps no graph."""
    net, method = case.net.eval(), case.method
    _begin(method)
    with torch.no_grad():
        first, second = (method.losses(net, batch(size=case.size), 0) for _ in range(2))
    assert not first.total.requires_grad
    assert math.isfinite(first.total.item())
    assert first.total == second.total


def test_an_epoch_is_a_function_of_its_generator(case: Prepared) -> None:
    """What an exact continuation rests on."""
    net, method = case.net.eval(), case.method
    totals = []
    for _ in range(2):
        _begin(method, 3)
        totals += [method.losses(net, batch(size=case.size), 3).total.item()]
    assert totals[0] == totals[1]
    assert all(math.isfinite(value) for value in method.figures(3).values())


def test_an_image_s_maps_have_its_size(case: Prepared) -> None:
    explain = case.explain
    data = batch(2, size=case.size)
    maps = explain(case.net.eval(), data.images)
    assert maps.shape[0] == 2
    assert maps.shape[-2:] == (case.size, case.size)
    assert torch.isfinite(maps).all()


def test_mixed_precision_is_near(case: Prepared) -> None:
    rough = prepare(case.name, autocast=True)
    totals = []
    for one in (case, rough):
        one.net.eval()
        _begin(one.method)
        losses = one.method.losses(one.net, batch(size=case.size), 0)
        losses.total.backward()
        assert all(torch.isfinite(g).all() for g in _gradients(one.net))
        totals.append(losses.total.item())
    assert totals[1] == pytest.approx(totals[0], rel=0.1)
