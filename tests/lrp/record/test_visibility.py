"""What the recorder cannot see is refused: compiled and scripted modules, hidden functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import UnsupportedOperation, relevance
from isnet_lrp.record.visibility import check_visible, depends_on_image, hidden_tensor_error
from tests.lrp.nets import Between, build, images

HIDDEN = "compiled or scripted module hides|computed where the recorder cannot see"


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
    net: Any = Between(torch.relu)
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
    assert relevance(Between(part), images(2, (5, 4)), "all").maps.abs().sum() > 0


def test_plain_networks_are_visible() -> None:
    for name in ("basic", "dense", "vgg_bn", "chain"):
        check_visible(build(name))


def test_what_an_unseen_tensor_was_made_from() -> None:
    image, weight = torch.rand(3, requires_grad=True), torch.rand(3, requires_grad=True)
    seen = image * 2
    nodes = {seen.grad_fn}
    assert depends_on_image(image.exp(), image, set())
    assert depends_on_image(weight + seen.exp().sin(), image, nodes)
    assert not depends_on_image(weight.exp() * 2, image, nodes)
    assert depends_on_image(
        weight.exp(), image.detach(), nodes
    )  # its history would not show the image


def test_the_error_names_shape_and_maker() -> None:
    error = hidden_tensor_error(torch.rand(2, 3, requires_grad=True).exp())
    assert "(2, 3)" in str(error)
    assert "ExpBackward" in str(error)
    assert "give the plain network" in str(error)


def test_constants_kept_from_call_to_call_are_no_fault() -> None:
    """A network may keep tensors that depend on its parameters alone."""
    kept: dict[str, Tensor] = {}

    def between(y: Tensor) -> Tensor:
        return y.relu() * kept["factor"]

    net, x = Between(between), images(2, (5, 4))
    factor = torch.full((4, 1, 1), 0.5, dtype=torch.float64, requires_grad=True)
    kept["factor"] = factor.exp()  # made before the recording
    found = relevance(net, x, "all")
    plain = Between(lambda y: y.relu() * torch.tensor(0.5).double().exp())
    assert torch.allclose(found.maps, relevance(plain, x, "all").maps, atol=1e-13)
