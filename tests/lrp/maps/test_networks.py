"""Maps of whole networks equal the rules written out layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import Choice, relevance
from tests.lrp.nets import CLASSES, NETS, build, images
from tests.lrp.oracles.dense import Oracle
from tests.lrp.oracles.flex import flex_derivatives, flex_maps

UNIT = (torch.zeros(3).double(), torch.ones(3).double())
WIDE = (torch.tensor([-0.1, -0.2, -0.3]).double(), torch.tensor([1.0, 1.5, 2.0]).double())
CHANNELS = "zb per channel"
BOUNDS = {"no zb": None, "zb": UNIT, CHANNELS: WIDE}
# DenseNet's z+ has no published rule for joined channels.
FAMILIES = [(f, n) for n in NETS for f in ("flex", "block", "z+") if (f, n) != ("z+", "dense")]


def prepared(name: str, training: bool) -> nn.Module:
    """A network whose BatchNorm is in training mode, if asked."""
    net = build(name).train(training)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return net


def error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest entry."""
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 0
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def slow(
    net: nn.Module, x: Tensor, family: str, target: str, zb: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor, Oracle]:
    oracle = Oracle(net, positive=family == "z+", zb=zb)
    call = flex_maps if family == "flex" else Oracle.maps
    return *call(oracle, x, target), oracle


MODES = [  # each bound in one of the two modes; the rest is slow
    pytest.param(
        bounds,
        training,
        id=f"{bounds}-{'train' if training else 'eval'}",
        marks=[]
        if (bounds, training) in (("no zb", False), (CHANNELS, True))
        else [pytest.mark.slow],
    )
    for bounds in BOUNDS
    for training in (False, True)
]


@pytest.mark.parametrize(("bounds", "training"), MODES)
@pytest.mark.parametrize(("family", "name"), FAMILIES)
def test_maps_equal_the_rules_written_out(
    name: str, family: str, bounds: str, training: bool
) -> None:
    net, x, zb = prepared(name, training), images(3), BOUNDS[bounds]
    for target in ("all", "predicted"):
        result = relevance(net, x, target, family=family, zb=zb)
        maps, logits, _ = slow(net, x, family, target, zb)
        assert error(result.maps, maps) < 1e-10
        assert error(result.logits, logits) < 1e-12


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("family", ["flex", "block"])
def test_selective_maps(name: str, family: str) -> None:
    net, x = prepared(name, training=False), images(3)
    maps, _, _ = slow(net, x, family, "selective", None)
    assert error(relevance(net, x, "selective", family=family).maps, maps) < 1e-10


def test_selective_maps_of_given_classes() -> None:
    net, x, classes = build("basic"), images(3), torch.tensor([2, 0, 1])
    theirs, _ = Oracle(net).maps(x, "selective", classes)
    ours = relevance(net, x, "selective", family="block", choice=Choice(classes)).maps
    assert error(ours, theirs) < 1e-10


@pytest.mark.parametrize("zb", [None, WIDE])
@pytest.mark.parametrize("name", ["basic", "vgg_bn", "chain"])
def test_dual_is_z_plus_and_block_of_all_logits_at_once(
    name: str, zb: tuple[Tensor, Tensor] | None
) -> None:
    net, x = build(name), images(3)
    parts = [slow(net, x, f, "every-logit-at-once", zb)[0] for f in ("z+", "block")]
    assert error(relevance(net, x, family="dual", zb=zb).maps, torch.cat(parts, 1)) < 1e-10


@pytest.mark.parametrize("family", ["flex", "block", "z+"])
@pytest.mark.parametrize("name", NETS)
def test_maps_of_given_classes_are_those_of_all_logits(name: str, family: str) -> None:
    net, x, classes = build(name), images(3), torch.tensor([2, 0, 1])
    every = relevance(net, x, "all", family=family).maps
    one = relevance(net, x, classes, family=family).maps
    at_once = relevance(net, x, "every-logit-at-once", family=family).maps
    assert every.shape[1] == CLASSES
    assert error(one[:, 0], every[torch.arange(3), classes]) < 1e-12
    assert error(at_once, every.sum(1, keepdim=True)) < 1e-12


@pytest.mark.parametrize("family", ["block", "z+"])
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("basic", ("maxpool", "layer1.0", "layer2.0", "layer2.1", "layer4.0")),
        ("bottleneck", ("layer1", "layer2", "layer3", "layer4", "avgpool")),
        ("dense", ("features.transition1.relu",)),
        ("vgg_bn", ("features.3", "features.10", "avgpool")),
        ("vgg", ("features.2", "features.7", "avgpool")),
    ],
)
def test_relevance_of_hidden_layers(name: str, layers: tuple[str, ...], family: str) -> None:
    if (family, name) == ("z+", "dense"):
        family = "block"
    net, x = build(name), images(2)
    found = relevance(net, x, "all", family=family, layers=layers).layers
    _, _, oracle = slow(net, x, family, "all", None)
    for layer in layers:
        module = net.get_submodule(layer)
        module = module[-1] if isinstance(module, nn.Sequential) else module
        assert error(found[layer], torch.stack(oracle.kept[module], 1)) < 1e-10, layer


@pytest.mark.parametrize("epsilon", [0.0, 0.05])
@pytest.mark.parametrize("name", NETS)
def test_hidden_layers_of_flex(name: str, epsilon: float) -> None:
    """Every layer's map is its activation times the modified gradient there.

    Source: docs/lrp.md, section 3.5.
    """
    net, x = build(name), images(2)
    layers = [n for n, m in net.named_modules() if isinstance(m, (nn.MaxPool2d, nn.Linear))]
    result = relevance(net, x, "all", epsilon=epsilon, layers=layers)
    caught: dict[str, Tensor] = {}
    hooks = [
        net.get_submodule(n).register_forward_hook(lambda _m, _i, y, n=n: caught.__setitem__(n, y))
        for n in layers
    ]
    with flex_derivatives(epsilon or 1e-300, []):
        logits = net(x.clone().requires_grad_())
    for hook in hooks:
        hook.remove()
    for k in range(CLASSES):
        slopes = torch.autograd.grad(
            logits[:, k].sum(), list(caught.values()), retain_graph=True, allow_unused=True
        )
        for (layer, value), slope in zip(caught.items(), slopes, strict=True):
            theirs = torch.zeros_like(value) if slope is None else value * slope
            assert torch.allclose(result.layers[layer][:, k], theirs, atol=1e-12), layer


@pytest.mark.parametrize("family", ["flex", "block", "z+"])
def test_the_first_layers_rule_does_not_reach_hidden_layers(family: str) -> None:
    net, x = build("bottleneck"), images(2)
    plain = relevance(net, x, "all", family=family, layers="auto")
    zb = relevance(net, x, "all", family=family, layers="auto", zb=WIDE)
    for name, layer in plain.layers.items():
        assert torch.equal(layer, zb.layers[name])
    assert not torch.allclose(plain.maps, zb.maps)


@pytest.mark.parametrize("size", [(57, 45), (16, 16), (33, 20)])
@pytest.mark.parametrize("name", ["basic", "chain"])
def test_odd_and_small_sizes(name: str, size: tuple[int, int]) -> None:
    net, x = build(name, size=size), images(1, size)
    for family in ("flex", "block"):
        maps, _, _ = slow(net, x, family, "all", UNIT)
        assert error(relevance(net, x, "all", family=family, zb=UNIT).maps, maps) < 1e-10
