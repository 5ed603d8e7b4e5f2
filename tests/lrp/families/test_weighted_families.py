"""Families that carry relevance: zennit's maps where its rules are the same, and slow sums."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import zennit.rules
from torch import Tensor, nn

from isnet_lrp import ZB, AlphaBeta, Epsilon, Gamma, UnsupportedOperation, ZPlus, relevance
from isnet_lrp.families import rules
from tests.lrp.maps.test_parity import close, composite, explained, merged_exactly
from tests.lrp.nets import build, images, without_biases

E = 0.01
ZENNIT: dict[str, Any] = {
    "epsilon": zennit.rules.Epsilon,
    "gamma": lambda e: zennit.rules.Gamma(0.25, stabilizer=e),
    "alpha-beta": lambda e: zennit.rules.AlphaBeta(2.0, 1.0, stabilizer=e),
}


@pytest.mark.parametrize("family", ZENNIT)
@pytest.mark.parametrize("name", ["vgg", "vgg_bn", "basic"])
def test_maps_of_zennit(family: str, name: str) -> None:
    """Sums and pools share by the epsilon rule in both."""
    net, x = merged_exactly(build(name)), images(2)
    ours = relevance(net, x, "all", family=family, epsilon=E).maps
    assert close(ours, explained(net, x, composite(ZENNIT[family], E)))


@pytest.mark.parametrize("name", ["vgg", "vgg_bn", "basic"])
@pytest.mark.parametrize("family", ["epsilon-plus", "epsilon-alpha2-beta1"])
def test_composites_of_zennit(family: str, name: str) -> None:
    convolution = {
        "epsilon-plus": zennit.rules.ZPlus,
        "epsilon-alpha2-beta1": lambda e: zennit.rules.AlphaBeta(2, 1, stabilizer=e),
    }[family]
    net, x = merged_exactly(build(name)), images(2)
    theirs = composite(convolution, E)
    layers = theirs.composites[1].layer_map
    layers[3] = (nn.Linear, zennit.rules.Epsilon(E))
    ours = relevance(net, x, "all", family=family, epsilon=E).maps
    assert close(ours, explained(net, x, theirs))


@pytest.mark.parametrize("name", ["vgg", "vgg_bn", "basic", "dense", "bottleneck"])
def test_epsilon_has_the_maps_of_block(name: str) -> None:
    """Carried as relevance, and as signals by fused steps; "dense" has one more division."""
    net, x, epsilon = build(name), images(2), 1e-12 if name == "dense" else 0.1
    block = relevance(net, x, "all", family="block", epsilon=epsilon).maps
    assert close(relevance(net, x, "all", family="epsilon", epsilon=epsilon).maps, block)


def test_a_composite_by_layers_is_that_of_zennit() -> None:
    net, x = merged_exactly(without_biases(build("vgg"))), images(2)
    box = zennit.rules.ZBox(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1), stabilizer=E)
    theirs = composite(
        zennit.rules.ZPlus, E, first=box, first_name="features.0",
        last=zennit.rules.Epsilon(1e-6), last_name="classifier.6",
    )  # fmt: skip
    chosen = {
        nn.Conv2d: ZPlus(), nn.Linear: ZPlus(), "features.0": ZB(0, 1),
        "classifier.6": Epsilon(1e-6),
    }  # fmt: skip
    ours = relevance(net, x, "all", family="epsilon", epsilon=E, rules=chosen).maps
    assert close(ours, explained(net, x, theirs))


def test_the_box_rule_of_a_layer_is_that_of_the_argument() -> None:
    net, x = build("vgg_bn"), images(2)
    expected = relevance(net, x, "all", family="epsilon", zb=(-0.5, 1.5)).maps
    first = {"features.0": ZB(-0.5, 1.5)}
    assert close(relevance(net, x, "all", family="epsilon", rules=first).maps, expected)


def test_the_longest_name_decides_and_names_go_before_classes() -> None:
    net, x = build("vgg"), images(2)

    def maps(chosen: Any) -> Tensor:
        return relevance(net, x, "all", family="epsilon", rules=chosen).maps

    flat, gamma = AlphaBeta(1.0, 0.0), Gamma(1.0)
    expected = maps({nn.Conv2d: flat})
    assert close(maps({"features": flat, nn.Conv2d: gamma}), expected)
    assert close(maps({"features": gamma, **named(net, nn.Conv2d, flat)}), expected)
    assert not torch.allclose(maps({"features": gamma}), expected)
    assert close(maps({"": Epsilon()}), relevance(net, x, "all", family="epsilon").maps)


def named(net: nn.Module, kind: type[nn.Module], rule: rules.WeightedRule) -> dict[str, Any]:
    return {name: rule for name, module in net.named_modules() if isinstance(module, kind)}


class Plain(nn.Module):
    """One linear layer of signed inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


def slow(family: str, a: list[float], w: list[float], b: float, y: float) -> list[float]:
    """Formulas of the families' docstrings, term by term, for one output."""
    products = [x * v for x, v in zip(a, w, strict=True)]
    if family == "gamma":
        sign = 1 if y > 0 else -1
        products = [p * (1.25 if p * sign > 0 else 1) for p in products]
        b = b * (1.25 if b * sign > 0 else 1)
    if family in ("epsilon", "gamma"):
        z = sum(products) + b
        return [p * y / (z + E * (1 if z >= 0 else -1)) for p in products]
    up = sum(max(p, 0.0) for p in products) + max(b, 0.0)
    down = sum(min(p, 0.0) for p in products) + min(b, 0.0)
    return [2 * max(p, 0.0) * y / (up + E) - min(p, 0.0) * y / (down - E) for p in products]


@pytest.mark.parametrize("family", ZENNIT)
def test_one_layer_by_loops(family: str) -> None:
    torch.manual_seed(1)
    net, x = Plain(), torch.randn(4, 3, 2, 2, dtype=torch.float64)
    found = relevance(net, x, "all", family=family, epsilon=E)
    for image, maps, logits in zip(x, found.maps, found.logits, strict=True):
        for k in range(3):
            b, y = net.fc.bias[k].item(), logits[k].item()
            expected = slow(family, image.flatten().tolist(), net.fc.weight[k].tolist(), b, y)
            assert maps[k].flatten().tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("family", ["gamma", "alpha-beta", "epsilon-plus"])
def test_weighted_operations_without_signs_are_refused(family: str) -> None:
    net = nn.Sequential(nn.ConvTranspose2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    net(images(2).float())
    with pytest.raises(UnsupportedOperation, match="no rule by signs"):
        relevance(net, images(2).float(), family=family)
    found = relevance(net, images(2).float(), family="epsilon").maps
    assert found.abs().sum() > 0
