"""Maps equal zennit's and captum's where their rules are the same as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import captum.attr
import pytest
import torch
import zennit.core
import zennit.layer
import zennit.rules
import zennit.torchvision
import zennit.types
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn
from zennit.composites import LayerMapComposite, MixedComposite, NameMapComposite

from isnet_lrp import relevance
from tests.lrp.nets import CLASSES, build, images, without_biases

POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
NOTHING = 1e-300  # a stabiliser that leaves every quotient but 0/0


def close(a: Tensor, b: Tensor) -> bool:
    assert b.abs().max() > 0
    return torch.allclose(a, b, atol=1e-10 * b.abs().max().item(), rtol=0)


def merged_exactly(net: nn.Module) -> nn.Module:
    """zennit's merged BatchNorm still divides by sqrt(1 + eps): with this eps by 1."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-13
    return net


def composite(
    affine: type[zennit.core.Hook],
    epsilon: float,
    first: zennit.core.Hook | None = None,
    first_name: str = "",
    last: zennit.core.Hook | None = None,
    last_name: str = "",
    pools: float | None = None,
) -> Any:
    """One rule for convolutions and linear layers, epsilon for pools and sums, Pass for ReLU."""
    rules = [
        (zennit.types.Activation, zennit.rules.Pass()),
        (zennit.layer.Sum, zennit.rules.Norm(stabilizer=epsilon)),
        (zennit.types.Convolution, affine(epsilon)),
        (nn.Linear, affine(epsilon)),
        (POOLS, zennit.rules.Epsilon(epsilon if pools is None else pools)),
    ]
    named = [([name], hook) for name, hook in ((first_name, first), (last_name, last)) if hook]
    canonizers = [zennit.torchvision.ResNetCanonizer()]
    return MixedComposite([NameMapComposite(named), LayerMapComposite(rules)], canonizers)


def explained(net: nn.Module, x: Tensor, rules: Any, start: Tensor | None = None) -> Tensor:
    """zennit's maps of all classes [B, K, C, H, W], begun with the logits or with `start`."""
    maps = []
    with rules.context(net) as hooked:
        for k in range(CLASSES):
            image = x.clone().requires_grad_()
            y = hooked(image)
            seed = torch.zeros_like(y)
            seed[:, k] = (y if start is None else start)[:, k].detach()
            maps.append(torch.autograd.grad(y, image, seed)[0])
    return torch.stack(maps, 1)


@pytest.mark.parametrize("epsilon", [1e-2, 1.0])
@pytest.mark.parametrize("name", ["vgg", "vgg_bn", "basic", "bottleneck"])
def test_block_equals_zennits_epsilon_rule(name: str, epsilon: float) -> None:
    """Convolutions with merged BatchNorm, residual sums, overlapping pools, biases."""
    net, x = merged_exactly(build(name)), images(2)
    ours = relevance(net, x, "all", family="block", epsilon=epsilon)
    assert close(ours.maps, explained(net, x, composite(zennit.rules.Epsilon, epsilon)))


@pytest.mark.parametrize("name", ["vgg", "vgg_bn"])
def test_flex_equals_zennits_epsilon_rule_at_the_relus_alone(name: str) -> None:
    """In a chain every affine layer but the last feeds a ReLU; pools and logits are no sites."""
    net, x = merged_exactly(build(name)), images(2)
    last = zennit.rules.Epsilon(NOTHING)
    rules = composite(
        zennit.rules.Epsilon, 0.01, last=last, last_name="classifier.6", pools=NOTHING
    )
    assert close(relevance(net, x, "all", epsilon=0.01).maps, explained(net, x, rules))


@pytest.mark.parametrize("name", ["vgg", "vgg_bn"])
def test_z_plus_equals_zennits(name: str) -> None:
    """Started with the positive part of the last layer (zennit's sums keep signed parts)."""
    net, x = merged_exactly(build(name)), images(2)
    head = net.classifier[-1]
    kept: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _m, a: kept.append(a[0].detach()))
    net(x)
    hook.remove()
    start = kept[0] @ head.weight.clamp(min=0).T + head.bias.clamp(min=0)
    theirs = explained(net, x, composite(zennit.rules.ZPlus, 0.01), start)
    assert close(relevance(net, x, "all", family="z+").maps, theirs)


@pytest.mark.parametrize("name", ["vgg", "basic"])
def test_zb_equals_zennits_box_rule(name: str) -> None:
    """Per channel; no bias in the first layer, for it has relevance (docs/lrp.md, section 2.8)."""
    net, x = merged_exactly(without_biases(build(name, seed=3))), images(2)
    low = torch.tensor([-0.1, -0.2, 0.0]).double()
    high = torch.tensor([1.0, 1.5, 2.0]).double()
    box = zennit.rules.ZBox(low.view(1, 3, 1, 1), high.view(1, 3, 1, 1), stabilizer=0.01)
    rules = composite(
        zennit.rules.Epsilon, 0.01, first=box,
        first_name="conv1" if name == "basic" else "features.0",
    )  # fmt: skip
    ours = relevance(net, x, "all", family="block", zb=(low, high))
    assert close(ours.maps, explained(net, x, rules))


class Chain(nn.Module):
    """A chain that captum can take apart: a module for every step but the flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 4, 3),
            nn.ReLU(), nn.AvgPool2d(2, 1),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(4 * 7 * 5, 6), nn.ReLU(), nn.Linear(6, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


@contextmanager
def rules_of_captum(net: nn.Module, epsilon: float) -> Iterator[None]:
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, *POOLS)):
            module.rule = EpsilonRule(epsilon)
    yield
    assert not any(hasattr(m, "rule") for m in net.modules())  # captum takes them away


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize("epsilon", [1e-2, 1.0])
def test_block_equals_captums_epsilon_rule(epsilon: float) -> None:
    torch.manual_seed(0)
    net, x = Chain().double().eval(), images(2)
    ours = relevance(net, x, "all", family="block", epsilon=epsilon).maps
    for k in range(CLASSES):
        with rules_of_captum(net, epsilon):
            theirs = captum.attr.LRP(net).attribute(x.clone().requires_grad_(), target=k)
        assert close(ours[:, k], theirs.detach())


@pytest.mark.parametrize("name", ["basic", "bottleneck", "dense", "vgg_bn", "chain"])
def test_epsilon_zero_equals_captums_input_x_gradient(name: str) -> None:
    net, x = build(name), images(2)
    ours = relevance(net, x, "all", epsilon=0.0).maps
    for k in range(CLASSES):
        theirs = captum.attr.InputXGradient(net).attribute(x.clone().requires_grad_(), target=k)
        assert close(ours[:, k], theirs.detach())
