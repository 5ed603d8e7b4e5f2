"""Convolutions and linear layers in every spelling pass their gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.ops.weighted import Linear
from tests.lrp.oracles.rule_check import error

W = torch.linspace(-1, 1, 6 * 6 * 9, dtype=torch.float64).reshape(6, 6, 3, 3)
V = W[:, :, 0, 0]

CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "same padding": lambda z: F.conv2d(z, W, padding="same"),
    "even kernel": lambda z: F.conv2d(z, W[..., :2, :2], padding="same"),
    "valid padding": lambda z: F.interpolate(F.conv2d(z, W, padding="valid"), size=(8, 8)),
    "strided with remainder": lambda z: F.interpolate(F.conv2d(z, W, stride=3), size=(8, 8)),
    "dilated, grouped": lambda z: F.conv2d(z, W[:, :2], padding=2, dilation=2, groups=3),
    "one-dimensional": lambda z: F.conv1d(z.flatten(2), W[..., 0], padding=1).view(z.shape),
    "transposed": lambda z: F.conv_transpose2d(z, W, padding=1),
    "linear": lambda z: F.linear(z.movedim(1, -1), V, V[0]).movedim(-1, 1),
    "matrix product": lambda z: (V @ z.flatten(2)).view(z.shape),
    "einsum": lambda z: torch.einsum("oc,bchw->bohw", V, z),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CASES)
def test_weights(name: str) -> None:
    assert error(CASES[name], CASES[name], 0.01) < 1e-12


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 5)])
def test_linear_layers_of_vectors_and_tokens(shape: tuple[int, ...]) -> None:
    weight = torch.randn(3, 5, dtype=torch.float64)
    g = torch.randn(2, *shape[:-1], 3, dtype=torch.float64)
    found = Linear("linear", (0,), (1,), weight=weight).propagate([g])[0]
    assert found is not None
    assert torch.allclose(found, g @ weight)
    assert Linear("linear", (0,), (1,), weight=weight).propagate([None]) == [None]
