"""Norms hold their standard deviation and let their mean pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.lrp.oracles.rule_check import error

RAMP = torch.linspace(0, 1, 8, dtype=torch.float64)  # the mean of a normed map is 0
GAMMA = torch.linspace(0.5, 2, 6, dtype=torch.float64)


def _centred(z: Tensor, axes: tuple[int, ...], eps: float = 1e-5) -> Tensor:
    d = z - z.mean(axes, keepdim=True)
    return d / (d.square().mean(axes, keepdim=True) + eps).sqrt().detach()


def _groups(z: Tensor) -> Tensor:
    return _centred(z.reshape(2, 3, -1), (2,)).reshape(z.shape) * GAMMA.view(-1, 1, 1)


def _channels_last(z: Tensor) -> Tensor:
    return F.layer_norm(z.permute(0, 2, 3, 1), (6,), GAMMA).permute(0, 3, 1, 2)


CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "layer norm": (_channels_last, lambda z: _centred(z, (1,)) * GAMMA.view(-1, 1, 1)),
    "layer norm of all": (lambda z: F.layer_norm(z, (6, 8, 8)), lambda z: _centred(z, (1, 2, 3))),
    "group norm": (lambda z: F.group_norm(z, 3, GAMMA), _groups),
    "instance norm": (
        lambda z: F.instance_norm(z) * RAMP,
        lambda z: _centred(z, (2, 3)) * RAMP,
    ),
    "rms norm": (
        lambda z: F.rms_norm(z, (8,), eps=1e-5),
        lambda z: z / (z.square().mean(-1, keepdim=True) + 1e-5).sqrt().detach(),
    ),
    "normalize": (
        lambda z: F.normalize(z, dim=1),
        lambda z: z / z.norm(dim=1, keepdim=True).detach(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_norms(name: str) -> None:
    assert error(*CASES[name], 0.01) < 1e-9
