"""The recording: what it sees, in-place operations and views, the first layer, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_models.lrp import UnsupportedOperation, relevance
from isnet_models.lrp.nonlinear import Rectifier
from isnet_models.lrp.tape import Rules, Tape
from tests.relevance_nets import build, images


def recorded(f: Callable[[Tensor], Any], x: Tensor) -> Tape:
    image = x.clone().requires_grad_()
    with Tape(Rules(0.01), image) as tape:
        f(image)
    return tape


def test_every_spelling_of_relu_is_seen() -> None:
    def run(x: Tensor) -> None:
        for relu in (nn.ReLU(), F.relu, torch.relu, Tensor.relu):
            relu(x * 1)
        for relu in (nn.ReLU(inplace=True), torch.relu_, Tensor.relu_, F.relu_):
            y = x * 1
            assert relu(y).min() >= 0

    tape = recorded(run, torch.randn(1, 1, 4, 4))
    assert sum(isinstance(op, Rectifier) for op in tape.graph.ops) == 8


def test_what_depends_on_the_image_has_a_slot() -> None:
    image, weight = torch.rand(2, 3), torch.rand(3, requires_grad=True)
    with Tape(Rules(0.01), image.requires_grad_()) as tape:
        made, constant = image * weight, weight * 2
        both, none = made + constant, constant.relu()
        index = made.argmax(1)
    assert tape.slot(image) == 0
    assert tape.slot(made) is not None
    assert tape.slot(both) not in (None, tape.slot(made))
    assert tape.slot(constant) is None
    assert tape.slot(none) is None
    assert tape.slot(index) is None


def test_nothing_is_recorded_outside() -> None:
    image = torch.rand(2, 3).requires_grad_()
    with Tape(Rules(0.01), image) as tape:
        image.relu()
    count = len(tape.graph.ops)
    image.relu()
    assert len(tape.graph.ops) == count == 1


Run = Callable[[Any, Tensor], Tensor]
FIRST: dict[str, tuple[Run, Run | None]] = {  # a network, and its first layer
    "conv": (lambda n, x: n.conv(x), lambda n, x: n.conv(x)),
    "conv relu": (lambda n, x: n.conv(x).relu(), lambda n, x: n.conv(x).relu()),
    "conv norm": (lambda n, x: n.norm(n.conv(x)), lambda n, x: n.norm(n.conv(x))),
    "conv norm relu": (lambda n, x: n.norm(n.conv(x)).relu(),
                       lambda n, x: n.norm(n.conv(x)).relu()),
    "conv relu norm": (lambda n, x: n.norm(n.conv(x).relu()), lambda n, x: n.conv(x).relu()),
    "two convs": (lambda n, x: n.next(n.norm(n.conv(x)).relu()).relu(),
                  lambda n, x: n.norm(n.conv(x)).relu()),
    "conv silu": (lambda n, x: F.silu(n.conv(x)), lambda n, x: F.silu(n.conv(x))),
    "linear relu": (lambda n, x: n.linear(x.flatten(1)).relu(),
                    lambda n, x: n.linear(x.flatten(1)).relu()),
    "pool conv": (lambda n, x: n.conv(F.max_pool2d(x, 2)), None),
    "scaled": (lambda n, x: n.conv(2 * x), None),
    "norm": (lambda n, x: n.norm(x), None),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST)
def test_the_end_of_the_first_layer(name: str) -> None:
    torch.manual_seed(0)
    net, x = nn.Module(), torch.rand(2, 3, 8, 8)
    net.conv, net.norm, net.next = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3)
    net.linear = nn.Linear(3 * 64, 4)
    run, first = FIRST[name]
    tape = recorded(lambda image: run(net.eval(), image), x)
    if first is None:
        assert tape.first is None
        return
    assert tape.first is not None
    slot, value = tape.first
    assert torch.allclose(value, first(net, x), atol=1e-6)
    assert tape.slot(value) == slot


class Net(nn.Module):
    """conv, something, mean, linear."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)
        self.between = between
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.between(self.conv(x)).flatten(2).mean(2))


def _flat_then_relu(y: Tensor) -> Tensor:
    flat = y.flatten(2)
    y.relu_()
    return flat


def _relu_of_flat(y: Tensor) -> Tensor:
    y.flatten(2).relu_()
    return y


def _relu_of_part(y: Tensor) -> Tensor:
    y[:, :2].relu_()
    return y


def _sum_into_part(y: Tensor) -> Tensor:
    y[:, 1:3] += 1
    return y


def _copied(y: Tensor) -> Tensor:
    return torch.zeros_like(y).copy_(y)


def _old_name(y: Tensor) -> Tensor:
    old = y.clone()
    y.mul_(3)
    return old + y


def _assigned(y: Tensor) -> Tensor:
    whole = torch.zeros(len(y), 6, *y.shape[2:], dtype=y.dtype)
    whole[:, 1:5] = y
    return whole[:, :4]


ALIASES = (_flat_then_relu, _relu_of_flat, _relu_of_part, _sum_into_part, _copied, _old_name,
           _assigned)  # fmt: skip


@pytest.mark.parametrize("between", ALIASES)
def test_writes_through_views_are_right_or_refused(between: Callable[[Tensor], Tensor]) -> None:
    """Never silently wrong: logits and maps are those of the plain network, or an error says so."""
    net, x = Net(between), images(2, (5, 4))
    image = x.clone().requires_grad_()
    plain = net(image)
    try:
        result = relevance(net, x, "all", epsilon=0.0)
    except UnsupportedOperation as error:
        assert "in place" in str(error) or "writes into" in str(error)  # noqa: PT017
        assert between not in (_old_name, _assigned)
        return
    assert torch.allclose(result.logits, plain, atol=1e-13)
    for k in range(2):
        (slope,) = torch.autograd.grad(plain[:, k].sum(), image, retain_graph=True)
        assert torch.allclose(result.maps[:, k], x * slope, atol=1e-13)


def test_the_users_image_is_never_written() -> None:
    net = Net(torch.relu)
    plain = net.forward
    net.forward = lambda x: plain(x.sub_(0.5).mul_(2))  # type: ignore[method-assign]
    x = images(2, (5, 4))
    kept = x.clone()
    maps = relevance(net, x, "all").maps
    assert torch.equal(x, kept)
    net.forward = plain  # type: ignore[method-assign]
    inner = (kept - 0.5) * 2
    moved = relevance(net, inner, "all").maps  # x·2g here, inner·g there
    assert torch.allclose(maps * inner[:, None], 2 * moved * kept[:, None], atol=1e-14)
    assert maps.abs().sum() > 0


HIDDEN = "compiled or scripted module hides|computed out of sight"


class Odd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def _scripted() -> Callable[[Tensor], Tensor]:
    return torch.jit.script(_rectified)  # type: ignore[no-any-return]


def _rectified(x: Tensor) -> Tensor:
    return x.relu() * 2


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("family", ["flex", "block", "z+"])
@pytest.mark.parametrize("kind", ["scripted network", "traced part", "scripted function",
                                  "compiled network", "compiled in place", "compiled part",
                                  "autograd function"])  # fmt: skip
def test_what_cannot_be_seen_is_refused(kind: str, family: str) -> None:
    x, part = images(2, (5, 4)), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()).double()
    net: Any = Net(torch.relu)
    if kind == "scripted network":
        net = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(60, 2)).double())
    elif kind == "traced part":
        net.between = torch.jit.trace(part, torch.rand(2, 4, 5, 4).double())
    elif kind == "scripted function":
        net.between = _scripted()
    elif kind == "compiled network":
        net = torch.compile(net, backend="eager")
    elif kind == "compiled in place":
        net.compile(backend="eager")
    elif kind == "compiled part":
        net.between = torch.compile(part, backend="eager")
    else:
        net.between = Odd.apply
    with pytest.raises(UnsupportedOperation, match=HIDDEN):
        relevance(net, x, family=family)


def test_the_same_parts_uncompiled_are_explained() -> None:
    part = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()).double()
    torch.compile(part, backend="eager")  # a wrapper: the part itself stays plain
    assert relevance(Net(part), images(2, (5, 4)), "all").maps.abs().sum() > 0


def test_operations_without_a_rule_are_named() -> None:
    net = Net(torch.special.i0)
    with pytest.raises(UnsupportedOperation, match=r"i0.*no relevance rule"):
        relevance(net, images(2, (5, 4)))


def test_frozen_networks_are_explained() -> None:
    """No parameter has a gradient: the image has, also with zB."""
    net, x = build("basic"), images(2)
    expected = [relevance(net, x, "all", zb=zb).maps for zb in (None, (0.0, 1.0))]
    net.requires_grad_(False)
    found = [relevance(net, x, "all", zb=zb).maps for zb in (None, (0.0, 1.0))]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
