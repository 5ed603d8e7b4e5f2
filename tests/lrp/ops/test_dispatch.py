"""Operations without weights: what is linear passes as it is, the rest is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp import UnsupportedOperation, relevance
from tests.lrp.oracles.rule_check import OneStep, error, images

LINEAR: dict[str, Callable[[Tensor], Tensor]] = {
    "max pool": lambda z: F.interpolate(F.max_pool2d(z, 3, 2, 1), size=(8, 8)),
    "mean": lambda z: z + z.mean((2, 3), keepdim=True),
    "adaptive pool": lambda z: F.interpolate(F.adaptive_avg_pool2d(z, 1), size=(8, 8)),
    "cat and chunk": lambda z: torch.cat(torch.cat([z, 2 * z], 1).chunk(3, 1)[:2], 1)[:, :6],
    "reshape and permute": lambda z: z.flatten(2).permute(0, 2, 1).reshape(2, 6, 8, 8),
    "difference": lambda z: 2 * z - z.roll(1, -1),
    "dropout": lambda z: F.dropout(z, 0.5, training=False),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_operations_pass_their_gradient(name: str) -> None:
    assert error(LINEAR[name], LINEAR[name], 0.01) < 1e-12


def test_glu_holds_its_gate() -> None:
    def twin(z: Tensor) -> Tensor:
        value, gate = torch.cat([z, z.flip(1)], 1).chunk(2, 1)
        return value * torch.sigmoid(gate).detach()

    assert error(lambda z: F.glu(torch.cat([z, z.flip(1)], 1), 1), twin, 0.01) < 1e-10


@pytest.mark.parametrize("f", [torch.digamma, torch.cumprod], ids=["digamma", "cumprod"])
def test_operations_without_a_rule_are_named(f: Callable[..., Tensor]) -> None:
    net = OneStep(lambda z: f(z, 1) if f is torch.cumprod else f(z * z + 1))
    with pytest.raises(UnsupportedOperation, match=f.__name__):
        relevance(net, images())
