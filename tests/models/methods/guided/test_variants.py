"""Every variant of the ISNet: its maps are those of its definition, and a step lowers its loss."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import Choice, relevance
from isnet_models.backbones import build_backbone
from isnet_models.methods.base import Batch
from isnet_models.methods.guided.isnet import VARIANTS, GradInput, MapLossMethod
from isnet_models.methods.settings import GradInputSettings
from tests.models.methods.factory import batch, isnet

METHODS = (*VARIANTS, "grad_input")


def _method(variant: str, **settings: object) -> MapLossMethod:
    if variant == "grad_input":
        return GradInput(GradInputSettings(**settings))  # type: ignore[arg-type]
    return isnet(variant=variant, **settings)


def _maps(variant: str, net: nn.Module, images: Tensor, **settings: object) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    method = _method(variant, **settings)
    return method.maps(net, images, create_graph=False, generator=generator)[0]


@pytest.mark.parametrize("variant", METHODS)
def test_number_of_maps(variant: str) -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    maps = _maps(variant, net, data.images, layers="none")
    stated = _method(variant).rule.maps
    expected = 3 if stated == "K" else stated
    assert list(maps) == ["input"]
    assert maps["input"].shape == (6, expected, 1, 32, 32)


def test_gradient_input_has_neither_epsilon_nor_first_layer_rule() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    x = data.images.clone().requires_grad_()
    rows = [torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for y in net(x).unbind(1)]
    maps = _maps("grad_input", net, data.images)["input"]
    assert torch.allclose(maps, torch.stack([x * g for g in rows], 1), atol=1e-6)


def test_settings_reach_the_engine() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    ours = _maps("original", net, data.images, epsilon=0.5, bounded_first_layer=False)["input"]
    assert torch.equal(ours, relevance(net, data.images, "all", family="block", epsilon=0.5).maps)
    ours = _maps("selective", net, data.images, selective_offset=0.3)["input"]
    asked = relevance(net, data.images, "selective", choice=Choice(delta=0.3), zb=(0.0, 1.0)).maps
    assert torch.equal(ours, asked)
    train = copy.deepcopy(net).train()
    both = [
        _maps("flex", train, data.images, batch_norm_gradient=form)["input"]
        for form in ("constant", "full")
    ]
    assert not torch.allclose(*both)


@pytest.mark.parametrize("layers", ["none", "auto"])
@pytest.mark.parametrize("variant", METHODS)
def test_steps_lower_the_loss(variant: str, layers: str) -> None:
    torch.manual_seed(0)
    net, data = build_backbone("small", 3).train(), batch()
    method = _method(variant, heatmap_weight=0.5, layers=layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    totals = [_step(net, method, data, optimizer) for _ in range(3)]
    assert totals[-1] < totals[0]
    if layers == "auto":
        parts = method.losses(net, data, 0).parts
        assert len([name for name in parts if name.startswith("heatmap_")]) >= 3


def test_the_energy_loss_is_a_drop_in() -> None:
    net, data = build_backbone("small", 3).train(), batch()
    method = isnet(heatmap_weight=0.5, loss="energy")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    assert _step(net, method, data, optimizer) > min(
        _step(net, method, data, optimizer) for _ in range(5)
    )


def _step(
    net: nn.Module, method: MapLossMethod, data: Batch, optimizer: torch.optim.Optimizer
) -> float:
    method.begin_epoch(0, torch.Generator().manual_seed(1))
    loss = method.losses(net, data, 0).total
    optimizer.zero_grad()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())
