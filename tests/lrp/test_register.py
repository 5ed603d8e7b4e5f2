"""Operations and families given by others: rules by word, by function, for a while."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import (
    Family,
    RelevanceError,
    UnsupportedOperation,
    register_family,
    register_operation,
    relevance,
)
from isnet_lrp.family import list_families
from isnet_lrp.record.table import HANDLERS
from isnet_lrp.targets import start_with_gradient
from tests.lrp.nets import Between, images

X = images(2, (5, 4))


def maps(function: Any, **options: Any) -> Tensor:
    return relevance(Between(function), X, "all", epsilon=0.0, **options).maps


@pytest.mark.parametrize(
    ("rule", "twin"),
    [
        ("gradient", torch.special.i1),
        ("linear", torch.special.i1),
        ("activation", lambda z: z * (torch.special.i1(z) / z).detach()),
        ("product", torch.special.i1),
        (lambda op, g, e: [2 * g[0]], lambda z: 2 * z),
    ],
)
def test_every_kind_of_rule(rule: Any, twin: Any) -> None:
    with register_operation(torch.special.i1, rule):
        found = maps(torch.special.i1)
    image = X.clone().requires_grad_()
    y = Between(twin)(image)
    rows = [torch.autograd.grad(k.sum(), image, retain_graph=True)[0] for k in y.unbind(1)]
    assert torch.allclose(found, torch.stack([X * g for g in rows], 1), atol=1e-12)


def test_values_that_move_and_constants() -> None:
    with register_operation("rot90", "constant"), pytest.raises(RelevanceError, match="depend"):
        maps(lambda z: z.rot90(2, (2, 3)))
    with register_operation("rot90", "move"):
        found = maps(lambda z: z.rot90(2, (2, 3)), family="z+")
    assert torch.allclose(found, maps(lambda z: z.rot90(2, (2, 3)), family="z+"))


def test_a_rule_is_forgotten_and_the_old_one_is_back() -> None:
    before = dict(HANDLERS)
    with register_operation("gelu", "gradient"), register_operation("special_i1", "gradient"):
        assert HANDLERS["gelu"] is not before["gelu"]
    assert before == HANDLERS
    with pytest.raises(UnsupportedOperation, match=r"special_i1.*extend-lrp\.md"):
        maps(torch.special.i1)
    with pytest.raises(RelevanceError, match="expected one of linear"):
        register_operation("gelu", "identity")


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, factor: float) -> Tensor:
        return z * factor

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return 2 * g, None


def test_an_autograd_function_is_seen_while_registered() -> None:
    plain = Double.apply

    def run(z: Tensor) -> Tensor:
        return Double.apply(z, 2.0)

    with register_operation(Double, "gradient"):
        found = maps(run)
        assert torch.equal(Double.apply(torch.ones(2), 2.0), torch.full((2,), 2.0))
    assert torch.allclose(found, maps(lambda z: 2 * z), atol=1e-14)
    assert "apply" not in vars(Double)
    assert Double.apply == plain
    with pytest.raises(UnsupportedOperation, match="register_operation"):
        maps(run)


def test_maps_through_a_rule_of_functions_are_trained_through() -> None:
    scale = nn.Parameter(torch.tensor(1.5).double())
    with register_operation(torch.special.i1, lambda op, g, e: [g[0] * scale * op.inputs[0]]):
        found = relevance(Between(torch.special.i1), X, create_graph=True)
    (slope,) = torch.autograd.grad(found.maps.sum(), scale)
    assert torch.allclose(slope, found.maps.sum() / 1.5)


def test_a_family_is_forgotten_and_names_are_taken_once() -> None:
    names = list_families()
    family = Family("mine", start_with_gradient)
    with register_family(family), pytest.raises(RelevanceError, match="taken"):
        register_family(family)
    with register_family(family, Family("other", start_with_gradient), name="both"):
        assert maps(torch.relu, family="both").shape[1] == 2
    assert list_families() == names
    odd = Family("odd", start_with_gradient, records={"relu": HANDLERS["tanh"]})
    with pytest.raises(RelevanceError, match="record operations differently"):
        register_family(family, odd)
