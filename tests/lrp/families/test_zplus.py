"""The z+ rule by hand and by loops: signed inputs, joined channels, operations without weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_lrp import UnsupportedOperation, relevance

EPSILON = 0.05


def plus(t: Tensor) -> Tensor:
    return t.clamp(min=0)


def matrix(f: Callable[[Tensor], Tensor], a: Tensor) -> Tensor:
    """Jacobian matrix [outputs, inputs] of a linear function at one image."""
    return torch.autograd.functional.jacobian(f, a).reshape(-1, a.numel())


def step(W: Tensor, b: Tensor, a: Tensor, R: Tensor) -> Tensor:
    """R_j = a_j Σ_k W⁺_jk R_k/(Σ_i W⁺_ik a_i + b⁺_k + epsilon); W [outputs, inputs] (2.1, 2.11)."""
    z = plus(W) @ a + plus(b)
    return a * (R / (z + EPSILON) @ plus(W))


class Net(nn.Module):
    """A first part, ReLU, and a linear layer to two logits."""

    def __init__(self, first: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.first = first
        self.head = nn.Linear(first(x).flatten(1).shape[1], 2).double()
        nn.init.uniform_(self.head.weight, -0.5, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).relu().flatten(1))

    def start(self, x: Tensor, k: int) -> Tensor:
        """Relevance of the head's inputs for the map of logit k, one image."""
        a = self.first(x).relu().flatten().detach()
        W, b = self.head.weight[k].detach(), self.head.bias[k].detach()
        y = plus(W) @ a + plus(b)
        return a * plus(W) * y / (y + EPSILON)


def random_image(channels: int = 3) -> Tensor:
    torch.manual_seed(0)
    return torch.rand(1, channels, 5, 4, dtype=torch.float64)


def close(a: Tensor, b: Tensor) -> bool:
    assert b.abs().max() > 0
    return torch.allclose(a, b, atol=1e-12)


def maps(net: nn.Module, x: Tensor) -> Tensor:
    return relevance(net, x, "all", family="z+", epsilon=EPSILON).maps[0].detach()


@pytest.mark.parametrize("k", [0, 1])
def test_one_convolution_and_one_linear_layer(k: int) -> None:
    x = random_image()
    conv = nn.Conv2d(3, 4, 3, 2, 1).double()
    net = Net(conv, x)
    W = matrix(lambda t: F.conv2d(t, conv.weight, None, 2, 1), x)
    b = conv.bias.detach()[:, None].expand(4, W.shape[0] // 4).flatten()
    R = step(W, b, x.flatten(), net.start(x, k))
    assert close(maps(net, x)[k].flatten(), R)


def test_a_convolution_of_signed_inputs_is_alpha_one_beta_zero() -> None:
    """R = a⁺ W⁺ᵀs + a⁻ W⁻ᵀs with s = R/(a⁺W⁺ + a⁻W⁻ + b⁺)."""
    x = random_image() - 0.5
    conv = nn.Conv2d(3, 4, 3).double()
    net = Net(conv, x)
    W = matrix(lambda t: F.conv2d(t, conv.weight), x)
    b = conv.bias.detach()[:, None].expand(4, W.shape[0] // 4).flatten()
    up, down = plus(x.flatten()), -plus(-x.flatten())
    negative = -plus(-W)
    s = net.start(x, 1) / (plus(W) @ up + negative @ down + plus(b) + EPSILON)
    assert close(maps(net, x)[1].flatten(), up * (s @ plus(W)) + down * (s @ negative))


class Joined(nn.Module):
    """A convolution and a pooling side by side behind a ReLU, then BatchNorm (as in DenseNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 3, 1).double(), nn.Conv2d(3, 2, 3, padding=1).double()
        self.norm = nn.BatchNorm2d(5).double().eval()
        nn.init.uniform_(self.norm.weight, -0.5, 1.5)
        nn.init.uniform_(self.norm.bias, -0.3, 1.0)
        nn.init.constant_(self.stem.bias, 0.5)
        self.norm.running_mean.normal_()

    def forward(self, x: Tensor) -> Tensor:
        a = self.stem(x).relu()
        return self.norm(torch.cat([self.conv(a), F.avg_pool2d(a, 3, 1, 1)], 1))


def test_joined_channels_are_fused_with_what_made_them() -> None:
    x = random_image()
    first = Joined()
    net = Net(first, x)
    a = first.stem(x).relu().detach()
    scale = (first.norm.weight / (first.norm.running_var + first.norm.eps).sqrt()).detach()
    shift = (first.norm.bias - first.norm.running_mean * scale).detach()
    conv, cells = first.conv, 20
    per_cell = scale[:, None].expand(5, cells).flatten()
    C = matrix(lambda t: F.conv2d(t, conv.weight, padding=1), a)
    P = matrix(lambda t: F.avg_pool2d(t, 3, 1, 1), a)
    W = per_cell[:, None] * torch.cat([C, P])
    inner = torch.cat([conv.bias.detach() * scale[:2], torch.zeros(3).double()])
    b = (inner + shift)[:, None].expand(5, cells).flatten()
    R = step(W, b, a.flatten(), net.start(x, 0))
    stem = first.stem
    S = matrix(lambda t: F.conv2d(t, stem.weight), x)
    c = stem.bias.detach()[:, None].expand(3, cells).flatten()
    assert close(maps(net, x)[0].flatten(), step(S, c, x.flatten(), R))


def test_a_sum_is_shared_by_the_positive_parts() -> None:
    x = random_image()
    left, right = nn.Conv2d(3, 2, 1).double(), nn.Conv2d(3, 2, 3, padding=1).double()

    class Sum(nn.Module):
        def forward(self, t: Tensor) -> Tensor:
            return left(t) + right(t)

    net = Net(Sum(), x)
    u, v = plus(left(x)).detach(), plus(right(x)).detach()
    R = net.start(x, 0).view_as(u)
    share = R / (u + v + EPSILON)
    total = torch.zeros(60, dtype=torch.float64)
    for layer, part, padding in ((left, u, 0), (right, v, 1)):
        W = matrix(lambda t, m=layer, p=padding: F.conv2d(t, m.weight, padding=p), x)
        b = layer.bias.detach()[:, None].expand(2, 20).flatten()
        total += step(W, b, x.flatten(), (part * share).flatten())
    assert close(maps(net, x)[0].flatten(), total)


class After(nn.Module):
    """Convolution, ReLU, and something."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.then = nn.Conv2d(3, 4, 3, padding=1).double(), then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.conv(x).relu())


MOVES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "permuted": (lambda t: t.permute(0, 2, 3, 1), lambda r: r.permute(0, 3, 1, 2)),
    "turned": (lambda t: t.flip(3).transpose(2, 3), lambda r: r.transpose(2, 3).flip(3)),
    "rolled": (lambda t: t.roll(2, 3), lambda r: r.roll(-2, 3)),
    "split and swapped": (
        lambda t: torch.cat(t.chunk(2, 1)[::-1], 1), lambda r: torch.cat(r.chunk(2, 1)[::-1], 1),
    ),
    "indexed": (lambda t: t[:, [3, 2, 1, 0]], lambda r: r[:, [3, 2, 1, 0]]),
    "shuffled": (
        lambda t: F.channel_shuffle(t, 2), lambda r: F.channel_shuffle(r, 2),
    ),
    "reshaped": (lambda t: t.reshape(1, 8, 5, 2), lambda r: r.reshape(1, 4, 5, 4)),
    "shifted by a constant": (lambda t: t + 0.3, lambda r: r),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_operations_that_move_elements_take_their_relevance_with_them(name: str) -> None:
    """Exactly: without another division."""
    there, back = MOVES[name]
    x = random_image()
    net = Net(After(there), x)
    R = back(net.start(x, 0).view(net.first(x).shape)).flatten()
    conv = net.first.conv
    W = matrix(lambda t: F.conv2d(t, conv.weight, padding=1), x)
    b = conv.bias.detach()[:, None].expand(4, 20).flatten()
    assert close(maps(net, x)[0].flatten(), step(W, b, x.flatten(), R))


MIXES: dict[str, Callable[[Tensor], Tensor]] = {
    "average pool": lambda t: F.avg_pool2d(t, 2),
    "maximum pool": lambda t: F.max_pool2d(t, 3, 1),
    "global pool": lambda t: F.adaptive_avg_pool2d(t, 1),
    "adaptive pool": lambda t: F.adaptive_avg_pool2d(t, 3),
    "mean": lambda t: t.mean((2, 3)),
    "resized": lambda t: F.interpolate(t, size=(7, 3), mode="bilinear"),
    "running sum": lambda t: t.cumsum(3),
    "twice negated": lambda t: t.neg().neg(),
}


@pytest.mark.parametrize("name", MIXES)
def test_operations_that_mix_elements_share_by_contribution(name: str) -> None:
    """R_j = a_j Σ_k W_jk R_k/(z_k + epsilon); positive relevance stays positive."""
    mix = MIXES[name]
    x = random_image()
    net = Net(After(mix), x)
    conv = net.first.conv
    a = conv(x).relu().detach()
    M = matrix(mix, a)
    R = net.start(x, 0)
    if name == "twice negated":  # two sites
        z = a.flatten()
        R = R * (z / (z + EPSILON)) ** 2
    else:
        R = a.flatten() * ((R / (M @ a.flatten() + EPSILON)) @ M)
    W = matrix(lambda t: F.conv2d(t, conv.weight, padding=1), x)
    b = conv.bias.detach()[:, None].expand(4, 20).flatten()
    ours = maps(net, x)[0].flatten()
    assert close(ours, step(W, b, x.flatten(), R))
    assert ours.min() >= 0


@pytest.mark.parametrize("name", ["conv_transpose2d", "conv1d"])
def test_weighted_operations_without_a_z_plus_rule_are_refused(name: str) -> None:
    torch.manual_seed(0)
    kernel = torch.randn(4, 4, 2, 2).double()
    calls: dict[str, Callable[[Tensor], Tensor]] = {
        "conv_transpose2d": lambda t: F.conv_transpose2d(t, kernel),
        "conv1d": lambda t: F.conv1d(t.flatten(2), kernel[:, :, 0]),
    }
    x = random_image()
    net = Net(After(calls[name]), x)
    for family in ("flex", "block"):
        assert relevance(net, x, "all", family=family).maps.abs().sum() > 0
    with pytest.raises(UnsupportedOperation, match="use family 'flex' or 'block'"):
        relevance(net, x, family="z+")


def test_the_start_is_the_positive_part_of_the_last_layer() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
    x = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    W, b = net[1].weight.detach(), net[1].bias.detach()
    result = relevance(net, x, "all", family="z+", epsilon=EPSILON)
    y = x.flatten(1) @ plus(W).T + plus(b)
    expected = x.flatten(1)[:, None] * plus(W) * (y / (y + EPSILON))[:, :, None]
    assert close(result.maps.flatten(2).detach(), expected)
    assert torch.allclose(result.logits, net(x))
