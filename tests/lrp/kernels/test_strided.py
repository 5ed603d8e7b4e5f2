"""The transposed convolution by phases equals torch's, values and derivatives."""

from __future__ import annotations

import pytest
import torch

from isnet_lrp.kernels.strided import phases, spread
from isnet_lrp.ops.affine import ConvOptions

CASES = {  # kernel, options, H, W
    "7x7, stride 2": (7, ConvOptions((2, 2), (3, 3), (1, 1), 1), 16, 16),
    "odd sizes": (7, ConvOptions((2, 2), (3, 3), (1, 1), 1), 15, 17),
    "stride 1": (3, ConvOptions((1, 1), (1, 1), (1, 1), 1), 6, 7),
    "patches": (4, ConvOptions((4, 4), (0, 0), (1, 1), 1), 16, 19),
    "uneven": (3, ConvOptions((3, 2), (0, 1), (2, 1), 1), 14, 9),
    "stride beyond the kernel": (2, ConvOptions((3, 3), (1, 0), (1, 1), 1), 10, 11),
    "1x1": (1, ConvOptions((1, 1), (0, 0), (1, 1), 1), 5, 5),
    "wide padding": (3, ConvOptions((1, 2), (2, 3), (1, 1), 1), 5, 6),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_transposed_convolution(name: str) -> None:
    torch.manual_seed(0)
    k, options, H, W = CASES[name]
    weight = torch.randn(5, 3, k, k, dtype=torch.float64, requires_grad=True)
    shape = options.apply(torch.zeros(2, 3, H, W, dtype=torch.float64), weight).shape
    s = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    found = spread(s, weight, options.stride, options.padding, options.dilation, (H, W))
    zeros = torch.zeros(2, 3, H, W, dtype=torch.float64)
    _, pull = torch.func.vjp(lambda x: options.apply(x, weight), zeros)
    wanted = pull(s)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    u = torch.randn_like(found)
    for mine, theirs in zip(
        torch.autograd.grad(found, [s, weight], u),
        torch.autograd.grad(wanted, [s, weight], u),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_phases_of_the_usual_first_layer() -> None:
    """Pixel 2j takes taps 5, 3, 1 of outputs j-1, j, j+1; pixel 2j+1 taps 6, 4, 2, 0 up to j+2."""
    table, before = phases(7, 2, 3, 1)
    assert before == 1
    assert table.tolist() == [[5, 3, 1, 7], [6, 4, 2, 0]]
