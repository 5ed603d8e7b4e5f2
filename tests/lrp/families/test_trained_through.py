"""Every family's maps can be trained through: gradients are finite differences, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import FAMILIES, ZB, Epsilon, Gamma, relevance, smooth_relevance
from tests.lrp.families.test_attention_families import Transformer
from tests.lrp.nets import build, images

BIASES_CONSTANT = {"block", "z+", "dual"}  # docs/lrp.md, section 2.12; tests/lrp/maps has them
SIGNS = {"gamma", "alpha-beta", "epsilon-plus", "epsilon-alpha2-beta1"}
STEP = 1e-6


def slopes(net: nn.Module, loss: Any) -> tuple[float, float]:
    """Along one direction of all parameters: by the training backward pass, by differences."""
    torch.manual_seed(3)
    parameters = list(net.parameters())
    direction = [torch.randn_like(p) * p.detach().abs().mean() for p in parameters]
    grads = torch.autograd.grad(loss(), parameters, allow_unused=True)
    by_pass = sum((g * d).sum().item() for g, d in zip(grads, direction, strict=True)
                  if g is not None)  # fmt: skip
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(d, alpha=sign * STEP)
        values.append(loss().item())
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.sub_(d, alpha=sign * STEP)
    return by_pass, (values[0] - values[1]) / (2 * STEP)


def weighted(maps: Tensor) -> Tensor:
    w = torch.randn(maps.shape, generator=torch.Generator().manual_seed(0), dtype=maps.dtype)
    return (w * maps).sum()


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in BIASES_CONSTANT])
@pytest.mark.parametrize("name", ["basic", "vgg", "transformer"])
def test_gradients_are_finite_differences(name: str, family: str) -> None:
    if name == "transformer" and family in SIGNS:
        pytest.skip("attention has no rule by signs")
    torch.manual_seed(0)
    if name == "transformer":
        net, x = Transformer("module").double().eval(), images(2, (6, 8))
    else:
        net, x = build(name), images(1)

    def loss() -> Tensor:
        return weighted(relevance(net, x, "all", family=family, create_graph=True).maps)

    by_pass, by_difference = slopes(net, loss)
    assert abs(by_difference) > 1e-5
    assert by_pass == pytest.approx(by_difference, rel=2e-5)


def test_composites_and_conditions_too() -> None:
    net, x = build("vgg_bn"), images(1)
    rules: Any = {"features.0": ZB(0, 1), "features": Gamma(0.5), nn.Linear: Epsilon(0.1)}

    def loss() -> Tensor:
        options: Any = {"family": "epsilon", "rules": rules, "conditions": {"features.3": [0, 2]}}
        return weighted(relevance(net, x, "all", create_graph=True, **options).maps)

    by_pass, by_difference = slopes(net, loss)
    assert by_pass == pytest.approx(by_difference, rel=2e-5)


def test_smooth_maps_too() -> None:
    net, x = build("basic"), images(2)

    def loss() -> Tensor:
        source = torch.Generator().manual_seed(0)
        found = smooth_relevance(
            net, x, torch.tensor([0, 1]), samples=3, generator=source, create_graph=True
        )
        return weighted(found.maps)

    by_pass, by_difference = slopes(net, loss)
    assert by_pass == pytest.approx(by_difference, rel=2e-5)
