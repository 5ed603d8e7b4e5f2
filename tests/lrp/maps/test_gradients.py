"""Gradients of the whole training loss equal finite differences (float64, 1e-6).

LRP-Flex in evaluation mode has the plain derivative. Elsewhere biases and BatchNorm's statistics
are constants of the rules (docs/lrp.md, section 2.12), so the differences are those of the rules
written out, with the constants of the unmoved network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_lrp import Relevance, relevance
from isnet_lrp.losses.deep_supervision import deep_supervision_loss
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss
from tests.lrp.nets import NETS, build, images
from tests.lrp.oracles.dense import Constants, Oracle
from tests.lrp.oracles.flex import flex_maps

LABELS, P = torch.tensor([0, 2, 1]), 0.7
WIDE = (torch.tensor([-0.1, -0.2, -0.3]).double(), torch.tensor([1.0, 1.5, 2.0]).double())
BOUNDS = {"no zb": None, "zb per channel": WIDE}
SETTINGS = HeatmapLossSettings(
    background_weight=1.0, foreground_weight=1.5, decay=0.9, saturation=1.0, low=1.0, high=25.0
)
STEPS = (1e-7, 1e-8, 1e-9, 1e-10)


def loss(maps: Tensor, logits: Tensor) -> Tensor:
    """(1 - P)·cross-entropy + P·heat-map loss, with a lung in the middle of the image."""
    masks = torch.zeros(len(maps), 1, *maps.shape[3:])
    masks[..., 4:15, 3:12] = 1
    heat = heatmap_loss(maps, masks, SETTINGS).total
    return (1 - P) * F.cross_entropy(logits, LABELS[: len(logits)]) + P * heat


def mode(net: nn.Module, training: bool) -> nn.Module:
    net.train(training)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return net


def gradients(net: nn.Module, value: Tensor) -> dict[str, Tensor]:
    """Gradients of all parameters; each has one."""
    net.zero_grad()
    value.backward()
    found = {name: p.grad for name, p in net.named_parameters()}
    assert all(g is not None for g in found.values())
    return found  # type: ignore[return-value]


def relative_error(
    net: nn.Module,
    slopes: dict[str, Tensor],
    value: Callable[[], Tensor],
    names: Iterable[str] | None = None,
) -> float:
    """Error of the gradient along a random direction, in which no two parts cancel.

    Every parameter moves away from its own gradient's sign, so that the derivative is the sum of
    absolute values. The smallest error of four steps counts: the loss has kinks (ReLU, maxima,
    signs of relevance), and a step across one shows nothing.
    """
    generator = torch.Generator().manual_seed(0)
    parameters = dict(net.named_parameters())
    moves = {}
    for name in parameters if names is None else names:
        random = torch.rand(slopes[name].shape, generator=generator, dtype=torch.float64) + 0.1
        moves[name] = random * torch.where(slopes[name] >= 0, 1.0, -1.0)
    exact = sum((moves[name] * slopes[name]).sum().item() for name in moves)
    assert exact > 0
    errors = []
    for step in STEPS:
        ends = []
        for sign in (1, -1):
            kept = {name: parameters[name].detach().clone() for name in moves}
            with torch.no_grad():
                for name, move in moves.items():
                    parameters[name].add_(sign * step * move)
                ends.append(value().item())
                for name, old in kept.items():
                    parameters[name].copy_(old)
        errors.append(abs((ends[0] - ends[1]) / (2 * step) - exact) / exact)
        if errors[-1] < 1e-7:
            break
    return min(errors)


CASES = [  # every network with every family, contrasts on one network; the rest is slow
    pytest.param(
        name,
        family,
        target,
        marks=[]
        if target == "all" or (name, target) == ("basic", "selective")
        else [pytest.mark.slow],
    )
    for name in NETS
    for family in ("flex", "block", "z+")
    for target in ("all", "selective", "predicted")
    if not (family == "z+" and (name == "dense" or target == "selective"))
]


MODES = [  # with zB in training and without in evaluation; the other two are slow
    pytest.param(
        bounds,
        training,
        id=f"{bounds}-{'train' if training else 'eval'}",
        marks=[] if (BOUNDS[bounds] is not None) == training else [pytest.mark.slow],
    )
    for bounds in BOUNDS
    for training in (False, True)
]


@pytest.mark.parametrize(("bounds", "training"), MODES)
@pytest.mark.parametrize(("name", "family", "target"), CASES)
def test_all_parameters_with_constants_frozen(
    name: str, family: str, target: str, bounds: str, training: bool
) -> None:
    net, x, zb = mode(build(name), training), images(3), BOUNDS[bounds]
    result = relevance(net, x, target, family=family, zb=zb, create_graph=True)
    slopes = gradients(net, loss(result.maps, result.logits))
    oracle = Oracle(net, positive=family == "z+", zb=zb, constants=Constants(net))
    deviations: list[Tensor] = []

    def value() -> Tensor:
        if family == "flex":
            return loss(*flex_maps(oracle, x, target, deviations=deviations))
        return loss(*oracle.maps(x, target))

    assert value().item() == pytest.approx(loss(result.maps, result.logits).item(), rel=1e-9)
    assert relative_error(net, slopes, value) < 1e-6


def own_loss(net: nn.Module, x: Tensor, **options: object) -> Callable[..., Tensor]:
    def value(create_graph: bool = False) -> Tensor:
        result = relevance(net, x, create_graph=create_graph, **options)  # type: ignore[arg-type]
        if not options.get("layers"):
            return loss(result.maps, result.logits)
        return deep_loss(result)

    return value


def deep_loss(result: Relevance) -> Tensor:
    """Deep supervision over the pixels and all hidden layers with more than one cell."""
    masks = torch.zeros(len(result.maps), 1, *result.maps.shape[3:])
    masks[..., 6:11, 5:9] = 1
    maps = {"input": result.maps} | {
        name: r for name, r in result.layers.items() if min(r.shape[3:]) > 2
    }
    assert len(maps) > 1
    heat = deep_supervision_loss(maps, masks, dict.fromkeys(maps, SETTINGS), 0.8).total
    return (1 - P) * F.cross_entropy(result.logits, LABELS[: len(result.logits)]) + P * heat


@pytest.mark.parametrize(
    ("name", "target"),
    [
        pytest.param(n, t, marks=[] if t == "all" or n == "basic" else [pytest.mark.slow])
        for n in NETS
        for t in ("all", "selective", "classes")
    ],
)
def test_flex_has_the_plain_derivative(name: str, target: str) -> None:
    """Of every parameter, for hidden layers' maps too: nothing is a constant.

    Source: docs/lrp.md, section 3.4.
    """
    net, x = build(name), images(3)
    chosen = torch.tensor([1, 0, 2]) if target == "classes" else target
    value = own_loss(net, x, target=chosen, layers="auto")
    assert relative_error(net, gradients(net, value(create_graph=True)), value) < 1e-6


@pytest.mark.parametrize(
    ("name", "family", "zb"),
    [
        pytest.param(n, f, zb, marks=[] if n == "basic" or (zb is not None and f != "dual")
                     else [pytest.mark.slow])
        for n in NETS for f in ("block", "z+", "dual") for zb in (None, WIDE)
    ],
)  # fmt: skip
def test_weights_of_the_other_families_have_the_plain_derivative(
    name: str, family: str, zb: tuple[Tensor, Tensor] | None
) -> None:
    """Biases alone are constants, so the loss can be differenced in all that is no bias."""
    net, x = build(name), images(3)
    target = torch.tensor([1, 0, 2]) if family == "block" else "every-logit-at-once"
    value = own_loss(net, x, target=target, family=family, zb=zb, layers="auto")
    weights = [n for n, _ in net.named_parameters() if n.endswith("weight")]
    assert relative_error(net, gradients(net, value(create_graph=True)), value, weights) < 1e-6


@pytest.mark.parametrize("family", ["block", "dual"])
def test_biases_differ_from_the_plain_derivative(family: str) -> None:
    """The convention is not an accident: the same check fails for biases."""
    net, x = build("vgg"), images(3)
    value = own_loss(net, x, target="every-logit-at-once", family=family)
    biases = [n for n, _ in net.named_parameters() if n.endswith("bias")]
    assert relative_error(net, gradients(net, value(create_graph=True)), value, biases) > 1e-4


def test_the_gradient_reaches_every_parameter_through_the_maps_alone() -> None:
    """But the last bias, on which no map of LRP-Flex depends."""
    net = build("basic")
    relevance(net, images(2), "all", create_graph=True).maps.square().sum().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == ["fc.bias"]


@pytest.mark.parametrize("family", ["flex", "block"])
def test_full_statistics_are_differentiated_through(family: str) -> None:
    """batch_norm="full" in LRP-Flex: the derivative of the whole loss, statistics included."""
    net, x = mode(build("basic"), training=True), images(3)

    def value(create_graph: bool = False) -> Tensor:
        result = relevance(
            net, x, "all", family=family, batch_norm="full", create_graph=create_graph
        )  # type: ignore[arg-type]
        return loss(result.maps, result.logits)

    slopes = gradients(net, value(create_graph=True))
    last = ["fc.weight"]
    names = None if family == "flex" else last
    assert relative_error(net, slopes, value, names) < 1e-6
