"""What holds for maps of any network: conservation, linearity, symmetry (drawn at random)."""

from __future__ import annotations

import copy

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from isnet_lrp import relevance
from tests.lrp.nets import without_biases

MANY = settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate],
)  # fmt: skip
SIGNALS = st.sampled_from(["flex", "block"])
FAMILIES = st.sampled_from(["flex", "block", "z+"])


class Residual(nn.Module):
    """x + conv(relu(conv(x))), or both side by side."""

    def __init__(self, width: int, joined: bool) -> None:
        super().__init__()
        self.inner, self.outer = nn.Conv2d(width, 3, 3, padding=1), nn.Conv2d(3, width, 1)
        self.norm, self.joined = nn.BatchNorm2d(width), joined

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.outer(self.inner(x).relu()))
        if self.joined:
            return torch.cat([x, y], 1).relu()
        y += x
        return y.relu_()


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Sequential, Tensor]:
    """A network of convolutions, BatchNorms, pools and residual blocks, and images for it."""
    seed = draw(st.integers(0, 10**6))
    size = draw(st.tuples(st.integers(9, 12), st.integers(9, 12)))
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, 2, *size, dtype=torch.float64, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width, parts = 2, list[nn.Module]()
        for i in range(draw(st.integers(1, 3))):
            out, k = draw(st.integers(2, 4)) * 2, draw(st.integers(1, 3))
            s, p = (draw(st.integers(1, 2)), draw(st.integers(0, 1))) if i == 0 else (1, k // 2)
            parts.append(nn.Conv2d(width, out, k, s, p, groups=draw(st.sampled_from([1, 2]))))
            width = out
            if draw(st.booleans()):
                parts.append(nn.BatchNorm2d(width))
            parts.append(nn.ReLU(inplace=draw(st.booleans())))
            extra = draw(st.sampled_from(["none", "max", "average", "sum", "joined"]))
            if extra in ("sum", "joined"):
                parts.append(Residual(width, extra == "joined"))
                width *= 2 if extra == "joined" else 1
            elif extra != "none":
                kind = nn.MaxPool2d if extra == "max" else nn.AvgPool2d
                parts.append(kind(2, 1 + i % 2, draw(st.integers(0, 1))))
        parts += [nn.AdaptiveAvgPool2d(draw(st.integers(1, 3))), nn.Flatten(), nn.LazyLinear(3)]
        net = nn.Sequential(*parts).double().eval()
        net(x)
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.uniform_(norm.weight, 0.3, 1.5)
                nn.init.normal_(norm.bias, std=0.3)
                norm.running_mean.normal_(std=0.3)
                norm.running_var.uniform_(0.3, 1.5)
    return net, x


def same(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> bool:
    return torch.allclose(a, b, atol=tolerance * max(1e-3, b.abs().max().item()), rtol=0)


@MANY
@given(networks(), SIGNALS, st.booleans())
def test_relevance_is_conserved_as_epsilon_vanishes(
    drawn: tuple[nn.Sequential, Tensor], family: str, zb: bool
) -> None:
    """Without biases the pixels' relevance adds up to each logit."""
    net, x = drawn
    without_biases(net)
    bounds = (-0.2, 1.3) if zb else None
    result = relevance(net, x, "all", family=family, epsilon=1e-13, zb=bounds)
    assert same(result.maps.sum((2, 3, 4)), result.logits, 1e-6)


@MANY
@given(networks(), FAMILIES)
def test_a_pixel_that_is_zero_has_no_relevance(
    drawn: tuple[nn.Sequential, Tensor], family: str
) -> None:
    net, x = drawn
    x[:, 1, 2:5, :4] = 0
    maps = relevance(net, x, "all", family=family).maps
    assert not maps[:, :, 1, 2:5, :4].any()


@MANY
@given(networks(), FAMILIES)
def test_maps_of_all_logits_add_up(drawn: tuple[nn.Sequential, Tensor], family: str) -> None:
    net, x = drawn
    every = relevance(net, x, "all", family=family).maps
    once = relevance(net, x, "every-logit-at-once", family=family).maps
    assert same(once[:, 0], every.sum(1))


@MANY
@given(networks(), st.floats(0.1, 10))
def test_maps_are_linear_in_the_last_layer(
    drawn: tuple[nn.Sequential, Tensor], factor: float
) -> None:
    """A map of LRP-Flex is linear in the logit's weights, that is in the signal it starts with."""
    net, x = drawn
    first = relevance(net, x, "all").maps
    other = copy.deepcopy(net)
    with torch.no_grad():
        weight = other[-1].weight.clone()
        other[-1].weight[0] = factor * weight[0] - weight[1]
    mixed = relevance(other, x, torch.tensor([0, 0])).maps[:, 0]
    assert same(mixed, factor * first[:, 0] - first[:, 1])


@MANY
@given(networks(), FAMILIES, st.booleans())
def test_input_channels_carry_their_relevance_with_them(
    drawn: tuple[nn.Sequential, Tensor], family: str, zb: bool
) -> None:
    """Swapping the image's channels and the first layer's weights swaps the map's channels."""
    net, x = drawn
    net[0].groups, swapped = 1, None
    with torch.no_grad():
        if net[0].weight.shape[1] == 1:
            net[0].weight = nn.Parameter(net[0].weight.repeat(1, 2, 1, 1) * torch.tensor(
                [1.0, -0.6]).double().view(1, 2, 1, 1))  # fmt: skip
        swapped = copy.deepcopy(net)
        swapped[0].weight.copy_(net[0].weight.flip(1))
    low, high = torch.tensor([-0.1, -0.4]).double(), torch.tensor([1.2, 2.0]).double()
    ours = relevance(net, x, "all", family=family, zb=(low, high) if zb else None)
    theirs = relevance(
        swapped, x.flip(1), "all", family=family, zb=(low.flip(0), high.flip(0)) if zb else None
    )
    assert same(ours.logits, theirs.logits)
    assert same(ours.maps, theirs.maps.flip(2))


@MANY
@given(networks(), FAMILIES, st.data())
def test_order_of_hidden_features_does_not_matter(
    drawn: tuple[nn.Sequential, Tensor], family: str, data: st.DataObject
) -> None:
    net, x = drawn
    wide = nn.Sequential(*net[:-1], nn.Linear(net[-1].in_features, 5), nn.ReLU(), nn.Linear(5, 3))
    wide = wide.double().eval()
    order = torch.tensor(data.draw(st.permutations(range(5))))
    other = copy.deepcopy(wide)
    with torch.no_grad():
        other[-3].weight.copy_(wide[-3].weight[order])
        other[-3].bias.copy_(wide[-3].bias[order])
        other[-1].weight.copy_(wide[-1].weight[:, order])
    ours, theirs = (relevance(n, x, "all", family=family).maps for n in (wide, other))
    assert same(ours, theirs)


@MANY
@given(networks(), FAMILIES)
def test_images_keep_their_maps_in_any_order(
    drawn: tuple[nn.Sequential, Tensor], family: str
) -> None:
    net, x = drawn
    layers = ["0", str(len(net) - 3)] if isinstance(net[1], nn.ReLU) else [str(len(net) - 3)]
    ours = relevance(net, x, "all", family=family, layers=layers)
    theirs = relevance(net, x.flip(0), "all", family=family, layers=layers)
    assert same(ours.maps, theirs.maps.flip(0))
    for name, layer in ours.layers.items():
        assert same(layer, theirs.layers[name].flip(0))


@MANY
@given(networks(), st.floats(1e-6, 1.0))
def test_positive_relevance_stays_positive_in_z_plus(
    drawn: tuple[nn.Sequential, Tensor], epsilon: float
) -> None:
    """Nothing negative arises, and no more than the start is handed out."""
    net, x = drawn
    result = relevance(net, x, "all", family="z+", epsilon=epsilon)
    last = net[-1]
    start = net[:-1](x) @ last.weight.clamp(min=0).T + last.bias.clamp(min=0)
    assert result.maps.min() >= 0
    assert (result.maps.sum((2, 3, 4)) <= start * (1 + 1e-12)).all()
