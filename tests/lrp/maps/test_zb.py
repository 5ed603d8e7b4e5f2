"""The zB rule with bounds per channel: images normalised by mean and s.d., linear first layers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_lrp import Compute, RelevanceError, relevance
from tests.lrp.nets import images
from tests.lrp.oracles.dense import pull

MEAN = torch.tensor([0.485, 0.456, 0.406]).double()
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).double()
LOW, HIGH = -MEAN / DEVIATION, (1 - MEAN) / DEVIATION


def channels(values: Tensor) -> Tensor:
    return values.view(1, 3, 1, 1)


def network(bias: bool = False, first: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 6, 3, 2, 1, bias=bias) if first is None else first
    body = [nn.ReLU(), nn.Conv2d(6, 4, 3, bias=False), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(first, *body, nn.LazyLinear(2, bias=False)).double()


def rescaled(net: nn.Sequential) -> nn.Sequential:
    """A network whose first weights are divided by the s.d.: it reads x where `net` reads x/sd."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight.div_(channels(DEVIATION))
    return other


@pytest.mark.parametrize("family", ["flex", "block", "z+"])
def test_scaled_images_have_the_maps_of_the_network_that_scales_by_itself(family: str) -> None:
    """Exactly, with bounds scaled alike, if the first layer has no bias.

    A shift is not a scaling: the network that subtracts the mean by itself has a bias, which the
    zB rule treats as if fed by the bounds, and a border that is not the padding's zero.
    """
    net, x = network(), images(2, (9, 8))
    net(x)
    bounds = torch.tensor([-0.2, -0.1, 0.0]).double(), torch.tensor([1.0, 1.2, 1.5]).double()
    scaled = bounds[0] / DEVIATION, bounds[1] / DEVIATION
    ours = relevance(net, x / channels(DEVIATION), "all", family=family, zb=scaled)
    theirs = relevance(rescaled(net), x, "all", family=family, zb=bounds)
    assert torch.allclose(ours.logits, theirs.logits, atol=1e-12)
    assert theirs.maps.abs().max() > 1e-3
    assert torch.allclose(ours.maps, theirs.maps, atol=1e-12)


def maps_of_raw_pixels(net: nn.Sequential, x: Tensor, epsilon: float) -> Tensor:
    """LRP-Flex of `net` behind a normalisation, the zB rule in terms of x in [0, 1].

    The first convolution has weights W/sd; what the mean adds is a constant that the rule's z does
    not hold (docs/lrp.md, sections 2.8 and 3.2, written out).
    """
    first = net[0]((x - channels(MEAN)) / channels(DEVIATION)).relu()
    a1 = first.detach().requires_grad_()
    z2 = net[2](a1)
    a2 = z2.relu()
    factor = a2.detach() / (a2.detach() + epsilon)
    W, maps = net[0].weight.detach() / channels(DEVIATION), []
    positive, negative = W.clamp(min=0), W.clamp(max=0)
    z = F.conv2d(x, W, None, 2, 1) - F.conv2d(torch.ones_like(x), negative, None, 2, 1)
    assert z.min() >= 0  # within the bounds
    for k in range(2):
        (g2,) = torch.autograd.grad(net[3:](a2)[:, k].sum(), a2, retain_graph=True)
        (g1,) = torch.autograd.grad(z2, a1, g2 * factor, retain_graph=True)
        s = (a1 * g1).detach() / (z + epsilon)
        up, down = (pull(lambda t, w=w: F.conv2d(t, w, None, 2, 1), x, s)
                    for w in (positive, negative))  # fmt: skip
        maps.append(x * up + (x - 1) * down)
    return torch.stack(maps, 1)


def test_normalised_images_have_the_contributions_of_raw_pixels() -> None:
    """x·w - l·w⁺ - h·w⁻ is the same for x' = (x - mean)/sd in [l', h'] as for x in [0, 1]."""
    net, x = network(), images(2, (9, 8))
    net(x)
    inner = (x - channels(MEAN)) / channels(DEVIATION)
    ours = relevance(net, inner, "all", zb=(LOW, HIGH), epsilon=0.02).maps
    theirs = maps_of_raw_pixels(net, x, 0.02)
    assert theirs.abs().max() > 1e-3
    assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("family", ["flex", "block"])
def test_normalised_images_conserve_relevance_without_biases(family: str) -> None:
    net, x = network(), images(2, (9, 8))
    net(x)
    inner = (x - channels(MEAN)) / channels(DEVIATION)
    found = relevance(net, inner, "all", family=family, zb=(LOW, HIGH), epsilon=1e-12)
    assert torch.allclose(found.maps.sum((2, 3, 4)), found.logits, atol=1e-8)


def test_wrong_bounds_are_refused_with_the_range_found() -> None:
    """Bounds of raw pixels for normalised ones would give other maps without a word."""
    net, x = network(), images(2, (9, 8))
    net(x)
    inner = (x - channels(MEAN)) / channels(DEVIATION)
    right = relevance(net, inner, "all", zb=(LOW, HIGH)).maps
    least, most = float(inner[:, 0].min()), float(inner[:, 0].max())
    with pytest.raises(RelevanceError, match=f"channel 0 are {least:.4g} to {most:.4g}"):
        relevance(net, inner, "all", zb=(0.0, 1.0))
    wrong = relevance(net, inner, "all", zb=(0.0, 1.0), compute=Compute(check=False)).maps
    assert (right - wrong).abs().max() > 0.1 * right.abs().max()


@pytest.mark.parametrize("pixel", [1.2, -0.2, 255.0, float("nan"), float("inf")])
def test_one_pixel_outside_the_bounds_is_enough(pixel: float) -> None:
    net, x = network(), images(2, (9, 8))
    net(x)
    x[1, 2, 3, 4] = pixel
    with pytest.raises(RelevanceError, match=r"channel 2|NaN or infinity"):
        relevance(net, x, "all", zb=(0.0, 1.0))


def test_rounding_is_no_fault() -> None:
    net, x = network().float(), images(2, (9, 8)).float()
    net(x)
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 1 + 1e-6, -1e-6
    assert relevance(net, x, "all", zb=(0.0, 1.0)).maps.isfinite().all()


@pytest.mark.parametrize(
    "zb", [(0, 0), (1, 0), (0, float("inf")), (float("nan"), 1), (0,), ([0, 0], 1), ("a", 1), 1]
)
def test_bounds_that_are_none_are_refused(zb: Any) -> None:
    net, x = network(), images(1, (9, 8))
    net(x)
    with pytest.raises(RelevanceError, match="zB bound"):
        relevance(net, x, "all", zb=zb)


def test_positive_relevance_stays_positive_within_the_bounds() -> None:
    net, x = network(), images(2, (9, 8))
    net(x)
    inner = (x - channels(MEAN)) / channels(DEVIATION)
    assert relevance(net, inner, "all", family="z+", zb=(LOW, HIGH)).maps.min() >= 0


def test_black_pixels_may_have_relevance() -> None:
    """Unlike under the other rules: x = l takes -(h - l)·w⁻, the contribution of not being h."""
    net, x = network(), images(1, (9, 8))
    net(x)
    x[..., :4, :] = 0
    assert relevance(net, x, "all", zb=(0.0, 1.0)).maps[..., :4, :].abs().sum() > 0
    assert not relevance(net, x, "all").maps[..., :4, :].any()


@pytest.mark.parametrize("norm", [False, True])
def test_a_linear_first_layer_is_its_convolution(norm: bool) -> None:
    """A linear layer of the flattened image equals a convolution as large as the image."""
    torch.manual_seed(0)
    linear, x = nn.Linear(3 * 4 * 5, 6), images(3, (4, 5))
    conv = nn.Conv2d(3, 6, (4, 5))
    conv.weight, conv.bias = nn.Parameter(linear.weight.view(6, 3, 4, 5)), linear.bias
    head = nn.Linear(6, 2)
    norms = (nn.BatchNorm1d(6), nn.BatchNorm2d(6))
    for m in norms:
        nn.init.uniform_(m.weight, -1, 1, generator=torch.Generator().manual_seed(1))
        m.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(2))
    first = nn.Sequential(nn.Flatten(), linear, *norms[:norm], nn.ReLU(), head).double().eval()
    second = nn.Sequential(conv, *norms[1:][:norm], nn.ReLU(), nn.Flatten(), head).double().eval()
    bounds = (torch.tensor([-0.1, -0.2, 0.0]).double(), torch.tensor([1.0, 1.5, 2.0]).double())
    for family in ("flex", "block"):
        ours = relevance(first, x, "all", family=family, zb=bounds)
        theirs = relevance(second, x, "all", family=family, zb=bounds)
        assert torch.allclose(ours.logits, theirs.logits, atol=1e-12)
        assert theirs.maps.abs().max() > 1e-4
        assert torch.allclose(ours.maps, theirs.maps, atol=1e-12)


def test_a_linear_first_layer_by_hand() -> None:
    """One image of two pixels, one hidden unit: R_j = (x_j·w_j - l·w⁺_j - h·w⁻_j)·R/stab(z)."""
    hidden, head = nn.Linear(2, 1), nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[2.0, -1.0]]))
        hidden.bias.copy_(torch.tensor([-0.25]))
        head.weight.fill_(3.0)
    net = nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), head)
    x = torch.tensor([0.75, 0.5]).view(1, 1, 1, 2)
    a = 2 * 0.75 - 0.5 - 0.25
    terms = [0.75 * 2 - 0.25 * 2, 0.5 * -1 - 1.5 * -1]  # l = 0.25, h = 1.5
    z = sum(terms) - 0.25 - 1.5 * -0.25
    expected = [t * 3 * a / (z + 0.01) for t in terms]
    found = relevance(net, x, "all", zb=(0.25, 1.5)).maps.flatten().tolist()
    assert found == pytest.approx(expected, rel=1e-5)
