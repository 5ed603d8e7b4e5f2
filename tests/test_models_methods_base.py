"""Training methods: one common set of promises, and the ISNet's sum by hand."""

from __future__ import annotations

import math

import pytest
import torch

from isnet_models.backbones import build_backbone
from isnet_models.methods import METHODS
from isnet_models.methods.base import classification_loss
from isnet_models.methods.isnet import ISNet, ISNetSettings
from isnet_models.methods.standard import Standard
from method_factory import batch

MAKERS = {"standard": Standard, "isnet": lambda: ISNet(ISNetSettings())}


def test_the_registry_is_what_is_tested() -> None:
    assert set(MAKERS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_steps_lower_the_loss_with_finite_gradients(name: str) -> None:
    torch.manual_seed(0)
    net, method, data = build_backbone("small", 3).train(), MAKERS[name](), batch()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    values = []
    for _ in range(12):
        losses = method.losses(net, data, 0)
        optimizer.zero_grad()
        losses.total.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
        optimizer.step()
        values.append(losses.total.item())
        assert losses.logits.shape == (6, 3)
        assert all(not v.requires_grad for v in losses.parts.values())
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize("name", METHODS)
def test_losses_without_gradient(name: str) -> None:
    net, method = build_backbone("small", 3).eval(), MAKERS[name]()
    with torch.no_grad():
        losses = method.losses(net, batch(), 0)
    assert not losses.total.requires_grad
    assert math.isfinite(losses.total.item())


@pytest.mark.parametrize("name", METHODS)
def test_an_epoch_is_a_function_of_its_generator(name: str) -> None:
    net, method = build_backbone("small", 3).eval(), MAKERS[name]()
    totals = []
    for _ in range(2):
        method.begin_epoch(3, torch.Generator().manual_seed(5))
        totals += [method.losses(net, batch(), 3).total.item()]
    assert totals[0] == totals[1]
    assert all(math.isfinite(value) for value in method.figures(3).values())


def test_missing_labels_cost_nothing() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    labels = torch.tensor([[1.0, math.nan], [math.nan, 0.0]])
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(3))) / 2
    assert classification_loss(logits, labels).item() == pytest.approx(by_hand, rel=1e-6)
    assert classification_loss(logits, torch.full((2, 2), math.nan)).item() == 0


def test_class_weights_by_hand() -> None:
    logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
    logits[1] = torch.tensor([0.0, 1.0])
    ce = [math.log(2), math.log(1 + math.exp(-1))]
    loss = classification_loss(logits, labels, torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((ce[0] + 3 * ce[1]) / 4)
