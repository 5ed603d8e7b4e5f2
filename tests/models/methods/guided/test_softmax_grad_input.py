"""Softmax Gradient x Input: maps by plain autograd, the ISNet's loss, its whole gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss
from isnet_models.backbones import build_backbone
from isnet_models.methods.base import Context, Method
from isnet_models.methods.guided.isnet import SoftmaxGradInput
from isnet_models.methods.settings import GradInputSettings
from tests.lrp.losses.map_nets import images, small
from tests.lrp.maps.test_gradients import relative_error
from tests.models.methods.factory import batch

LOSS = HeatmapLossSettings(share=0.2, low=0.01, high=0.2)


def method(**settings: object) -> SoftmaxGradInput:
    found = GradInputSettings(
        **{"heatmap_weight": 0.4, "pooling_share": 0.2, "layers": "none"} | settings
    )  # type: ignore[arg-type]
    return SoftmaxGradInput(found, Context(ranges={"every map": (0.01, 0.2)}))


def slow(net: nn.Module, x: Tensor) -> Tensor:
    """x · dq/dx [B, 1, C, H, W], q the largest of exp(y_k)/sum exp(y); image by image."""
    maps = []
    for one in x:
        image = one[None].clone().requires_grad_()
        y = net(image)[0]
        q = max(y, key=lambda v: v.item()).exp() / sum(v.exp() for v in y)
        maps.append(image.detach() * torch.autograd.grad(q, image)[0])
    return torch.stack(maps)


def test_maps_and_total() -> None:
    net, data, m = small(), images(), method()
    maps, logits = m.maps(net, data.images, create_graph=False)
    expected = slow(net, data.images)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(maps["input"], expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(logits, net(data.images))
    heat = heatmap_loss(expected[:2], data.masks[:2], LOSS).total.item()
    ce = nn.functional.cross_entropy(net(data.images), data.labels).item()
    losses = m.losses(net, data, 0)
    assert losses.total.item() == pytest.approx(0.6 * ce + 0.4 * heat, rel=1e-9)
    assert losses.parts["mapped"].item() == 0.5  # images with empty or full masks are left out


def test_the_gradient_is_that_of_the_whole_loss() -> None:
    net, data, m = small(), images(), method()

    def value() -> Tensor:
        return m.losses(net, data, 0).total

    net.zero_grad()
    value().backward()
    slopes = {name: p.grad for name, p in net.named_parameters()}
    assert all(g is not None for g in slopes.values())
    assert relative_error(net, slopes, value) < 1e-6


def test_the_maps_do_not_depend_on_the_batch() -> None:
    """The published mean over the batch would shrink them, and C1 and C2 with them."""
    net, x = small(), images().images
    alone, _ = method().maps(net, x[:1], create_graph=False)
    together, _ = method().maps(net, x, create_graph=False)
    torch.testing.assert_close(alone["input"][0], together["input"][0])


def test_hidden_layers_and_the_card_s_explanation() -> None:
    net = build_backbone("small", 3).eval()
    m: Method = method(layers=("stages.0",))
    losses = m.losses(net, batch(), 0)
    assert {"heatmap_input", "heatmap_stages.0"} <= set(losses.parts)
    assert math.isfinite(losses.total.item())
    rule = m.rule  # type: ignore[attr-defined]
    assert (rule.family, rule.epsilon, rule.bounded) == ("flex", 0.0, False)
