"""Epsilon sites of LRP Block, counted from outside: a huge epsilon divides once at each site."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.densenet import _Transition
from torchvision.models.resnet import BasicBlock

from isnet_lrp import relevance
from tests.lrp.nets import build, images
from tests.lrp.oracles.dense import Oracle


def conv(n_in: int = 3, n_out: int = 4, k: int = 3) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, k, padding=k // 2)


class Joined(nn.Module):
    """Two branches side by side."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first(x), self.second(x)], 1)


# Layers between the image and the flattened features: sites of LRP-Flex, of LRP Block (the logit
# is one of them).
CHAINS: dict[str, tuple[Callable[[], list[nn.Module]], int, int]] = {
    "linear": (lambda: [], 0, 1),
    "conv": (lambda: [conv()], 0, 2),
    "conv relu": (lambda: [conv(), nn.ReLU()], 1, 2),
    "conv norm relu": (lambda: [conv(), nn.BatchNorm2d(4), nn.ReLU()], 1, 2),
    "conv norm": (lambda: [conv(), nn.BatchNorm2d(4)], 0, 2),
    "conv dropout relu": (lambda: [conv(), nn.Dropout(), nn.ReLU()], 1, 2),
    "two convs": (lambda: [conv(), conv(4)], 0, 3),
    "max pool": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(3, 2)], 1, 3),
    "average pool": (lambda: [conv(), nn.ReLU(), nn.AvgPool2d(2)], 1, 3),
    "global pool": (lambda: [conv(), nn.ReLU(), nn.AdaptiveAvgPool2d(1)], 1, 3),
    "two pools": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)], 1, 4),
    "conv pool": (lambda: [conv(), nn.AvgPool2d(2)], 0, 3),
    "conv pool relu": (lambda: [conv(), nn.MaxPool2d(2), nn.ReLU()], 1, 3),
    "transition": (lambda: [conv(), nn.ReLU(), _Transition(4, 3), nn.BatchNorm2d(3), nn.ReLU()],
                   3, 4),
    "pool norm relu": (
        lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU()], 2, 3,
    ),
    "two pools norm relu": (
        lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.BatchNorm2d(4),
                 nn.ReLU()], 2, 4,
    ),
    "shortcut": (lambda: [conv(), nn.ReLU(), BasicBlock(4, 4)], 2, 3),
    "downsampled shortcut": (
        lambda: [conv(), nn.ReLU(), BasicBlock(4, 4, 2, nn.Sequential(
            nn.Conv2d(4, 4, 1, 2, bias=False), nn.BatchNorm2d(4)))], 2, 4,
    ),
    "joined convs": (lambda: [Joined(conv(), conv()), nn.ReLU()], 1, 2),
    "joined convs and norm": (lambda: [Joined(conv(), conv()), nn.BatchNorm2d(8), nn.ReLU()], 1, 2),
    "joined, without ReLU": (lambda: [Joined(conv(), conv())], 0, 2),
    "two readers": (lambda: [conv(), nn.ReLU(), Joined(conv(4), nn.Sequential(
        conv(4), nn.BatchNorm2d(4))), nn.ReLU()], 2, 3),
}  # fmt: skip


def fewest_sites(net: nn.Module, x: Tensor, family: str, zb: tuple[float, float] | None) -> float:
    """Slope of the map's size over epsilon, where epsilon exceeds every activation by far."""
    sizes = [
        relevance(net, x, "all", family=family, epsilon=e, zb=zb).maps.abs().sum().item()
        for e in (1e9, 1e10)
    ]
    return math.log10(sizes[0] / sizes[1])


def made(parts: list[nn.Module], x: Tensor) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = nn.Sequential(*parts, nn.Flatten(), nn.LazyLinear(2)).double().eval()
        net(x)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.constant_(module.bias, 0.3)
    return net


@pytest.mark.parametrize("name", CHAINS)
def test_number_of_sites(name: str) -> None:
    layers, flex, block = CHAINS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = layers()
    x = images(2, (9, 8))
    net = made(parts, x)
    assert fewest_sites(net, x, "flex", None) == pytest.approx(flex, abs=1e-4)
    assert fewest_sites(net, x, "block", None) == pytest.approx(block, abs=1e-4)


@pytest.mark.parametrize("name", ["conv relu", "conv norm relu", "max pool", "transition"])
def test_the_zb_rule_divides_in_place_of_the_first_sites_damping(name: str) -> None:
    layers, flex, block = CHAINS[name]
    x = images(2, (9, 8))
    net = made(layers(), x)
    for family, sites in (("flex", flex), ("block", block)):
        found = fewest_sites(net, x, family, (0.0, 1.0))
        assert found == pytest.approx(sites, abs=1e-4)


@pytest.mark.parametrize(("name", "flex", "block"), [
    ("vgg", 5, 9), ("vgg_bn", 5, 9), ("basic", 6, 12), ("dense", 3, 5),
])  # fmt: skip
def test_fewest_sites_of_networks(name: str, flex: int, block: int) -> None:
    """On the path with the fewest.

    VGG: 5 ReLUs; 2 maximum pools, the adaptive pool, the logit. ResNet along the shortcuts: the
    stem's and 5 blocks' ReLUs; the maximum pool, 3 downsampled shortcuts, the global pool, the
    logit. DenseNet past all layers: 3 ReLUs; the global pool, the logit.
    """
    net, x = build(name), images(2)
    found = [round(fewest_sites(net, x, family, None), 3) for family in ("flex", "block")]
    assert found == [flex, block]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("parts", ["norms", "norm and conv", "pooled conv and norm"])
def test_joined_affine_outputs_are_damped_channel_by_channel(parts: str, training: bool) -> None:
    """Outputs of BatchNorm and convolutions side by side before one ReLU."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = conv(3, 4), conv(3, 5)
            self.n, self.m = nn.BatchNorm2d(4), nn.BatchNorm2d(5)
            self.fc = nn.Linear(9, 2)

        def branches(self, x: Tensor) -> list[Tensor]:
            second = self.b(x)
            if parts == "norms":
                second = self.m(second)
            elif parts == "pooled conv and norm":
                second = self.m(F.avg_pool2d(second, 3, 1, 1))
            return [self.n(self.a(x)), second]

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.cat(self.branches(x), 1).relu().sum((2, 3)))

    torch.manual_seed(0)
    net, x = Net().double().train(training), images(2, (6, 5))
    ours = relevance(net, x, torch.tensor([1, 1]), family="block", epsilon=0.1).maps[:, 0]
    if training:  # statistics are constants: those of this batch
        with torch.no_grad():
            inputs = [net.a(x), net.b(x) if parts != "pooled conv and norm" else
                      F.avg_pool2d(net.b(x), 3, 1, 1)]  # fmt: skip
        for norm, z in zip((net.n, net.m), inputs, strict=True):
            norm.running_mean, norm.running_var = z.mean((0, 2, 3)), z.var((0, 2, 3), False)
        net.eval()
    image = x.clone().requires_grad_()
    z = net.branches(image)
    y = net(image)[:, 1]
    p = torch.cat(z, 1).relu().sum((2, 3))
    signal = net.fc.weight[1] * (y / (y + 0.1 * y.sign()))[:, None]
    signal = (signal * (p / (p + 0.1)))[:, :, None, None].expand(2, 9, 6, 5)
    maps = torch.zeros_like(x)
    for part, s in zip(z, signal.split([4, 5], 1), strict=True):
        passed = s * part.relu() / (part.abs() + 0.1)
        maps += torch.autograd.grad(part, image, passed.detach(), retain_graph=True)[0]
    assert torch.allclose(ours, x * maps, atol=1e-12)


class Sides(nn.Module):
    """Two BatchNorms side by side; a ReLU for each, or one for both."""

    def __init__(self, together: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.together = conv(3, 4), conv(3, 5), together
        self.n, self.m, self.fc = nn.BatchNorm2d(4), nn.BatchNorm2d(5), nn.Linear(9, 2)
        for norm in (self.n, self.m):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.n(self.a(x)), self.m(self.b(x))]
        if self.together:
            return self.fc(torch.cat(parts, 1).relu().sum((2, 3)))
        return self.fc(torch.cat([p.relu() for p in parts], 1).sum((2, 3)))


@pytest.mark.parametrize("batch_norm", ["constant", "full"])
def test_joined_outputs_keep_their_constants_while_training(batch_norm: str) -> None:
    """Maps and gradients are the same, whether the ReLU stands before or after the joining."""
    found = []
    for together in (False, True):
        net = Sides(together).double().train()
        result = relevance(
            net, images(3, (6, 5)), "all", family="block", epsilon=0.1, create_graph=True,
            batch_norm=batch_norm,  # type: ignore[arg-type]
        )  # fmt: skip
        result.maps.square().sum().backward()
        found.append([result.maps.detach(), *(p.grad for p in net.parameters())])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_sites_do_not_depend_on_names() -> None:
    """A ResNet whose modules are renamed and regrouped has the same maps."""
    net, x = build("basic"), images(2)
    parts = [net.conv1, net.bn1, nn.ReLU(), net.maxpool, *net.layer1, *net.layer2, *net.layer3,
             *net.layer4, nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.fc]  # fmt: skip
    renamed = nn.ModuleDict({f"part{i}": part for i, part in enumerate(parts)})

    class Renamed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = renamed

        def forward(self, x: Tensor) -> Tensor:
            for part in self.parts.values():
                x = part(x)
            return x

    ours = relevance(Renamed().eval(), x, "all", family="block").maps
    assert torch.allclose(ours, Oracle(net).maps(x)[0], atol=1e-12)
