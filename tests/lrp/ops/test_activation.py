"""Activations follow the proportional rule, also where f(0) is a bias; norms hold their scale."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.lrp.oracles.rule_check import error, straight

FUNCTIONS = [F.relu, F.relu6, F.gelu, F.silu, F.mish, F.hardswish, F.elu, F.leaky_relu, torch.tanh,
             F.softsign, torch.sigmoid, F.softplus]  # fmt: skip


def _twin(f: Callable[[Tensor], Tensor], epsilon: float) -> Callable[[Tensor], Tensor]:
    def twin(z: Tensor) -> Tensor:
        below = torch.where(z >= 0, z + epsilon, z - epsilon).detach()
        factor = (f(z) - f(torch.zeros((), dtype=z.dtype))).detach() / below
        return straight(f(z), z * factor)

    return twin


@pytest.mark.parametrize("epsilon", [0.01, 0.5])
@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_activations(f: Callable[[Tensor], Tensor], epsilon: float) -> None:
    assert error(f, _twin(f, epsilon), epsilon) < 1e-10
