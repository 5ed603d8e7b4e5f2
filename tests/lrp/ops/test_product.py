"""Products share relevance, gates and denominators are constants."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.lrp.oracles.rule_check import error, straight


def _half(a: Tensor, b: Tensor) -> Tensor:
    return straight(a * b, (a * b.detach() + a.detach() * b) / 2)


CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "product": (lambda z: z * z.roll(1, 1), lambda z: _half(z, z.roll(1, 1))),
    "constant factor": (lambda z: 3 * z, lambda z: 3 * z),
    "gate": (
        lambda z: z * torch.sigmoid(z.mean((2, 3), keepdim=True)),
        lambda z: z * torch.sigmoid(z.mean((2, 3), keepdim=True)).detach(),
    ),
    "quotient": (
        lambda z: z / (z.abs().mean((2, 3), keepdim=True) + 1),
        lambda z: z / (z.abs().mean((2, 3), keepdim=True) + 1).detach(),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_products(name: str) -> None:
    assert error(*CASES[name], 0.01) < 1e-10
