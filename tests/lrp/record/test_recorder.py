"""The recording: what it sees, in-place operations and views, the first layer, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_lrp import UnsupportedOperation, relevance
from isnet_lrp.ops.activation import ReLU
from isnet_lrp.record.recorder import Recorder, Rules
from tests.lrp.nets import Between, build, images


def recorded(f: Callable[[Tensor], Any], x: Tensor) -> Recorder:
    image = x.clone().requires_grad_()
    with Recorder(Rules(0.01), image) as recorder:
        f(image)
    return recorder


def test_every_spelling_of_relu_is_seen() -> None:
    def run(x: Tensor) -> None:
        for relu in (nn.ReLU(), F.relu, torch.relu, Tensor.relu):
            relu(x * 1)
        for relu in (nn.ReLU(inplace=True), torch.relu_, Tensor.relu_, F.relu_):
            y = x * 1
            assert relu(y).min() >= 0

    recorder = recorded(run, torch.randn(1, 1, 4, 4))
    assert sum(isinstance(op, ReLU) for op in recorder.graph.ops) == 8


def test_what_depends_on_the_image_has_a_slot() -> None:
    image, weight = torch.rand(2, 3), torch.rand(3, requires_grad=True)
    with Recorder(Rules(0.01), image.requires_grad_()) as recorder:
        made, constant = image * weight, weight * 2
        both, none = made + constant, constant.relu()
        index = made.argmax(1)
    assert recorder.find_node(image) == 0
    assert recorder.find_node(made) is not None
    assert recorder.find_node(both) not in (None, recorder.find_node(made))
    assert recorder.find_node(constant) is None
    assert recorder.find_node(none) is None
    assert recorder.find_node(index) is None


def test_nothing_is_recorded_outside() -> None:
    image = torch.rand(2, 3).requires_grad_()
    with Recorder(Rules(0.01), image) as recorder:
        image.relu()
    count = len(recorder.graph.ops)
    image.relu()
    assert len(recorder.graph.ops) == count == 1


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
    recorder = recorded(lambda image: run(net.eval(), image), x)
    if first is None:
        assert recorder.first is None
        return
    assert recorder.first is not None
    node, value = recorder.first
    assert torch.allclose(value, first(net, x), atol=1e-6)
    assert recorder.find_node(value) == node


def test_operations_without_a_rule_are_named() -> None:
    net = Between(torch.special.i0)
    with pytest.raises(UnsupportedOperation, match=r"i0.*no relevance rule"):
        relevance(net, images(2, (5, 4)))


def test_frozen_networks_are_explained() -> None:
    """No parameter has a gradient: the image has, also with zB."""
    net, x = build("basic"), images(2)
    expected = [relevance(net, x, "all", zb=zb).maps for zb in (None, (0.0, 1.0))]
    net.requires_grad_(False)
    found = [relevance(net, x, "all", zb=zb).maps for zb in (None, (0.0, 1.0))]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
