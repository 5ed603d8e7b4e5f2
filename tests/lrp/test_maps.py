"""The public call: what each option returns, and the definition of LRP-Flex from Jacobians."""

from __future__ import annotations

import gc
import inspect
import weakref
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import isnet_lrp
from isnet_lrp import FAMILIES, TARGETS, Choice, Relevance, relevance
from isnet_lrp.family import list_families
from isnet_lrp.maps import FamilyName
from tests.lrp.nets import CLASSES, NETS, build, images


class Tiny(nn.Module):
    """conv - batch norm - relu - overlapping max pool - residual sum - relu - mean - linear."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.fc, self.relu = nn.Linear(4, 3), nn.ReLU(inplace=True)
            for norm in (self.bn1, self.bn2):
                nn.init.uniform_(norm.weight, -1, 1.5)
                nn.init.normal_(norm.bias)
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        a = F.max_pool2d(self.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        out = self.bn2(self.conv2(a))
        out += a
        return self.fc(self.relu(out).mean((2, 3)))


def slow_maps(net: Tiny, x: Tensor, epsilon: float) -> Tensor:
    """Maps from Jacobian matrices, straight from LRP-Flex's definition.

    Source: docs/lrp.md, section 3.1.
    """

    def matrix(f: object, t: Tensor) -> Tensor:
        J = torch.autograd.functional.jacobian(f, t)
        return J.reshape(-1, t.numel())

    def body(t: Tensor) -> Tensor:
        pooled = F.max_pool2d(t, 3, 2, 1)
        return net.bn2(net.conv2(pooled)) + pooled

    maps = []
    for image in x.split(1):
        a1 = net.bn1(net.conv1(image)).clamp(min=0)
        a2 = body(a1).clamp(min=0)
        stem = matrix(lambda t: net.bn1(net.conv1(t)), image)
        head = matrix(lambda t: net.fc(t.mean((2, 3))), a2)
        factor1, factor2 = ((a / (a + epsilon)).flatten() for a in (a1, a2))
        maps.append(image.flatten() * (((head * factor2) @ matrix(body, a1) * factor1) @ stem))
    return torch.stack(maps).view(len(x), 3, *x.shape[1:])


@pytest.mark.parametrize("epsilon", [1e-4, 1e-2, 1.0])
def test_maps_equal_the_definition(epsilon: float) -> None:
    net, x = Tiny(), images(2, (9, 8))[:, :1]
    found = relevance(net, x, "all", epsilon=epsilon)
    assert torch.allclose(found.maps, slow_maps(net, x, epsilon).detach(), atol=1e-12, rtol=0)
    assert torch.allclose(found.logits, net(x), atol=1e-12)


def test_epsilon_zero_is_gradient_times_input() -> None:
    net, x = build("dense"), images(2)
    image = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(image)[:, 1].sum(), image)
    ours = relevance(net, x, torch.tensor([1, 1]), epsilon=0.0)
    assert torch.allclose(ours.maps[:, 0], x * gradient, atol=1e-13)


MAPS = {
    "all": CLASSES, "predicted": 1, "stochastic": 1, "selective": 1, "every-logit-at-once": 1,
    "max-probability": 1,
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", TARGETS)
def test_shapes(target: str, family: str) -> None:
    net, x = build("vgg_bn"), images(3)
    if target == "max-probability" and family not in ("flex", "attnlrp", "cp-lrp", "gradient"):
        with pytest.raises(isnet_lrp.RelevanceError, match="belongs to 'flex'"):
            relevance(net, x, target, family=family)
        return
    found = relevance(net, x, target, family=family, layers=["features.3", "classifier.0"])
    count = 2 if family == "dual" else MAPS[target]
    assert isinstance(found, Relevance)
    assert found.maps.shape == (3, count, 3, 21, 17)
    assert found.logits.shape == (3, CLASSES)
    assert {n: tuple(r.shape) for n, r in found.layers.items()} == {
        "features.3": (3, count, 4, 10, 8), "classifier.0": (3, count, 8),
    }  # fmt: skip
    assert found.maps.dtype == torch.float64


def test_the_tables_name_every_choice() -> None:
    assert set(TARGETS) == set(MAPS)
    assert FAMILIES[:4] == get_args(FamilyName)
    assert set(FAMILIES) == set(list_families())
    assert isnet_lrp.relevance is relevance
    options = inspect.signature(relevance).parameters
    documented = inspect.getdoc(relevance) or ""
    assert [name for name in options if f"    {name}: " not in documented] == []


def test_the_defaults() -> None:
    net, x = build("basic"), images(3)
    explicit = relevance(
        net, x, "predicted", family="flex", epsilon=0.01, zb=None, layers=(), create_graph=False
    )
    found = relevance(net, x)
    assert torch.equal(found.maps, explicit.maps)
    assert found.layers == {}


def test_targets_pick_from_all_logits_maps() -> None:
    net, x = build("basic"), images(5)
    every = relevance(net, x, "all")
    rows = torch.arange(5)
    predicted = relevance(net, x, "predicted").maps[:, 0]
    assert torch.allclose(predicted, every.maps[rows, every.logits.argmax(1)], atol=1e-14)
    always = relevance(net, x, "stochastic", choice=Choice(probability=1.0)).maps[:, 0]
    assert torch.allclose(always, predicted, atol=1e-14)
    never = relevance(net, x, "stochastic", choice=Choice(probability=0.0)).maps[:, 0]
    others = torch.stack([
        (never - every.maps[rows, (every.logits.argmax(1) + i) % CLASSES]).flatten(1).abs().amax(1)
        for i in range(1, CLASSES)
    ])  # fmt: skip
    assert (others.amin(0) < 1e-13).all()


def test_delta_and_classes_change_the_selective_map() -> None:
    net, x = build("basic"), images(3)
    plain = relevance(net, x, "selective").maps
    smallest = net(x).argmin(1)
    assert torch.equal(relevance(net, x, "selective", choice=Choice(smallest)).maps, plain)
    other = (smallest + 1) % CLASSES
    assert not torch.allclose(relevance(net, x, "selective", choice=Choice(other)).maps, plain)
    p = net(x).softmax(1)[torch.arange(3), smallest]

    def kappa(delta: float) -> Tensor:
        return p * (1 - p) * (1 / (p + delta) + 1 / (1 - p + delta))

    ratio = (kappa(1.0) / kappa(0.01)).detach().view(3, 1, 1, 1, 1)
    assert torch.allclose(
        relevance(net, x, "selective", choice=Choice(delta=1.0)).maps, ratio * plain, atol=1e-12
    )


def test_bounds_as_numbers_and_as_tensors() -> None:
    net, x = build("chain"), images(2)
    numbers = relevance(net, x, "all", zb=(-0.5, 2)).maps
    tensors = relevance(net, x, "all", zb=(torch.full((3,), -0.5), torch.tensor(2.0))).maps
    assert torch.equal(numbers, tensors)
    assert not torch.allclose(numbers, relevance(net, x, "all", zb=(0, 1)).maps)


def test_a_single_image_and_a_single_logit() -> None:
    net, x = build("vgg"), images(1)
    net.classifier[-1] = nn.Linear(7, 1).double()
    for target in ("all", "predicted", "stochastic", "every-logit-at-once"):
        assert relevance(net, x, target).maps.shape == (1, 1, 3, 21, 17)


def test_no_images_give_no_maps() -> None:
    found = relevance(build("basic"), images(3)[:0], "all")
    assert found.maps.shape == (0, CLASSES, 3, 21, 17)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        pytest.param(n, f, marks=[] if f == "flex" or n == "basic" else [pytest.mark.slow])
        for n in NETS
        for f in FAMILIES
    ],
)
def test_a_pass_is_forgotten_with_its_result(name: str, family: str) -> None:
    """Not at the garbage collector's next visit: a step's activations would pile up until then."""
    net, x = build(name), images()
    gc.disable()
    try:
        seen: list[weakref.ref[Tensor]] = []
        for module in net.modules():
            module.register_forward_hook(lambda m, args, out: seen.append(weakref.ref(out)))
        found = relevance(net, x, "all", family=family, create_graph=True)
        found.maps.square().sum().backward()
        assert seen
        del found
        assert all(activation() is None for activation in seen)
    finally:
        gc.enable()
