"""In-place operations: written anew, with the same values, in every spelling, through views."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp import UnsupportedOperation, relevance
from isnet_lrp.record.inplace import (
    INPLACE_AT,
    assign_copy,
    drop_inplace_argument,
    find_out_of_place,
    views_overlap,
)
from tests.lrp.nets import Between, images


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
    net, x = Between(between), images(2, (5, 4))
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
    net = Between(torch.relu)
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


@pytest.mark.parametrize("name", INPLACE_AT)
def test_the_option_is_taken_out_wherever_it_is_given(name: str) -> None:
    """And its position is the one that torch gives it."""
    function = getattr(F, name)
    before = tuple(range(INPLACE_AT[name]))
    for args, kwargs in (((*before, True), {}), (before, {"inplace": True})):
        assert drop_inplace_argument(name, args, kwargs) == (before, {}, True)
    assert drop_inplace_argument(name, before, {"inplace": False}) == (before, {}, False)
    code = getattr(function, "__wrapped__", function).__code__
    assert code.co_varnames[INPLACE_AT[name]] == "inplace"


def test_other_functions_keep_their_arguments() -> None:
    assert drop_inplace_argument("conv2d", (1, 2), {"inplace": True}) == (
        (1, 2),
        {"inplace": True},
        False,
    )


@pytest.mark.parametrize(
    "function", [torch.relu_, Tensor.relu_, Tensor.add_, Tensor.mul_, Tensor.clamp_, F.elu_]
)
def test_the_operation_that_returns_what_another_writes(function: Callable[..., Tensor]) -> None:
    x = torch.randn(3, 4)
    more = {"add_": (2.0,), "mul_": (3.0,), "clamp_": (-0.5, 0.5)}.get(function.__name__, ())
    kept = x.clone()
    found = find_out_of_place(function, function.__name__[:-1])(x, *more)
    assert torch.equal(x, kept)
    assert torch.equal(found, function(x, *more))


def test_operations_without_such_a_twin_are_refused() -> None:
    with pytest.raises(UnsupportedOperation, match="copy_: writes into"):
        find_out_of_place(Tensor.copy_, "copy")
    assert find_out_of_place(torch.relu, "relu") is torch.relu


def test_assignment_into_a_copy() -> None:
    x = torch.zeros(2, 3)
    found = assign_copy(x, (slice(None), 1), torch.ones(2))
    assert found.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert not x.any()


def test_views_overlap_only_where_they_share_elements() -> None:
    x = torch.zeros(4, 6)
    assert views_overlap(x[:2], x[1:])
    assert views_overlap(x, x.t())
    assert views_overlap(x[:, ::2], x[1])
    assert not views_overlap(x[:2], x[2:])
    assert not views_overlap(x[:, ::2], x[:, 1::2])
    assert not views_overlap(x[0, :3], x[0, 3:])
