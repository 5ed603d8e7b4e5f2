"""AG-Sononet: its layers by hand, attention that is constant in relevance but learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, interpolate, max_pool2d

from isnet_lrp import relevance
from isnet_models.methods.attention.ag_sononet import (
    FLOOR,
    AGSononet,
    GridAttention,
    Sononet,
)
from isnet_models.methods.base import NetSpec
from isnet_models.methods.settings import SononetSettings

DEPTHS, POOLED = [3, 3, 3, 2, 2], [2, 3]


def network(channels: int = 1, scale: int = 16) -> Sononet:
    torch.manual_seed(4)
    settings = SononetSettings(feature_scale=scale)
    net = AGSononet.build(NetSpec("ignored", 3, channels, size=(32, 32), settings=settings))
    assert isinstance(net, Sononet)
    for m in net.modules():  # statistics that are not those of the start
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.uniform_(-0.1, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    return net.double().eval()


def images(channels: int = 1, size: int = 32) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.rand(2, channels, size, size, generator=g, dtype=torch.float64)


def slow_attention(gate: GridAttention, x: Tensor, g: Tensor) -> Tensor:
    """Position by position."""
    up = interpolate(conv2d(g, gate.phi.weight, gate.phi.bias), x.shape[2:], mode="bilinear")
    found = torch.zeros(len(x), 1, *x.shape[2:], dtype=x.dtype)
    for b in range(len(x)):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                inner = gate.theta.weight[:, :, 0, 0] @ x[b, :, i, j] + up[b, :, i, j]
                found[b, 0, i, j] = gate.psi.weight[0, :, 0, 0] @ inner.clamp(min=0)
        found[b] += gate.psi.bias
        found[b] = found[b] - found[b].min() + FLOOR
        found[b] /= found[b].sum()
    return found


def by_hand(net: Sononet, x: Tensor) -> Tensor:
    levels = []
    for i, stack in enumerate(net.stacks):
        x = max_pool2d(x, 2) if i else x
        for n in range(DEPTHS[i]):
            conv, norm = stack[3 * n], stack[3 * n + 1]
            x = conv2d(x, conv.weight, padding=1)
            x = batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
            x = x.clamp(min=0)
        assert len(stack) == 3 * DEPTHS[i]
        levels.append(x)
    seen = []
    for gate, place in zip(net.gates, POOLED, strict=True):
        attention = slow_attention(gate, levels[place], levels[4])
        seen.append((attention * levels[place]).flatten(2).sum(2))
    features = torch.cat([*seen, levels[4].flatten(2).mean(2)], 1)
    return features @ net.classifier.weight.T + net.classifier.bias


@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 32), (1, 45)])
@torch.no_grad()
def test_the_network_by_hand(channels: int, size: int) -> None:
    net, x = network(channels), images(channels, size)
    torch.testing.assert_close(net(x), by_hand(net, x))


def test_widths_are_divided() -> None:
    net = AGSononet.build(NetSpec("", 2))
    widths = [stack[0].out_channels for stack in net.stacks]
    assert widths == [16, 32, 64, 128, 128]
    assert net.classifier.in_features == 64 + 128 + 128


def test_attention_sums_to_one_and_is_even_for_even_scores() -> None:
    gate = GridAttention(4, 4)
    x, g = torch.rand(2, 4, 6, 6), torch.rand(2, 4, 3, 3)
    found = gate(x, g)
    torch.testing.assert_close(found.sum((1, 2, 3)), torch.ones(2))
    assert (found >= 0).all()
    even = gate(torch.ones(1, 4, 6, 6), torch.ones(1, 4, 3, 3))
    torch.testing.assert_close(even, torch.full_like(even, 1 / 36))


def test_the_gates_learn() -> None:
    net = network().float()
    net(images().float()).square().sum().backward()
    for gate in net.gates:
        for p in (gate.theta.weight, gate.phi.weight, gate.phi.bias, gate.psi.weight):
            assert p.grad.abs().max() > 0
            assert torch.isfinite(p.grad).all()


class Frozen(nn.Module):
    """The network with its attention of certain images as constants."""

    def __init__(self, net: Sononet, x: Tensor) -> None:
        super().__init__()
        self.net, self.seen = net, []
        handles = [
            gate.register_forward_hook(lambda m, i, out: self.seen.append(out.detach()))
            for gate in net.gates
        ]
        with torch.no_grad():
            net(x)
        for handle in handles:
            handle.remove()

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for i, stack in enumerate(self.net.stacks):
            x = stack(self.net.pool(x) if i else x)
            levels.append(x)
        parts = [(a * levels[i]).sum((2, 3)) for a, i in zip(self.seen, POOLED, strict=True)]
        return self.net.classifier(torch.cat([*parts, levels[4].mean((2, 3))], 1))


@pytest.mark.parametrize("family", ["flex", "block", "z+"])
def test_attention_is_a_constant_of_relevance(family: str) -> None:
    net, x = network(), images()
    found = relevance(net, x, "all", family=family, zb=(0.0, 1.0))
    frozen = relevance(Frozen(net, x), x, "all", family=family, zb=(0.0, 1.0))
    torch.testing.assert_close(found.maps, frozen.maps)
    assert found.maps.abs().max() > 0


def test_relevance_without_epsilon_is_the_gradient_of_the_frozen_network() -> None:
    net, x = network(), images().requires_grad_()
    found = relevance(net, x, "all", family="flex", epsilon=0.0)
    y = Frozen(net, x)(x)
    for k in range(3):
        (slope,) = torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)
        torch.testing.assert_close(found.maps[:, k], slope * x.detach())
