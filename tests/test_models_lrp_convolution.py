"""The convolution's signals and their derivatives equal torch's own, natively computed or not."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_models.lrp.convolution import ConvOptions, RelevanceConv
from isnet_models.lrp.rules import Phase

CASES = [
    (stride, padding, dilation, groups, size)
    for stride, padding, dilation, groups in itertools.product(
        [(1, 1), (2, 1), (3, 2)], [(0, 0), (1, 2)], [(1, 1), (2, 1)], [1, 2]
    )
    for size in [(9, 8)]
]


def second_order(y: Tensor, x: Tensor, weight: Tensor, phase: Phase) -> list[Tensor]:
    """Derivatives of a function of the input's signal, as relevance training takes them."""
    g = torch.sin(torch.arange(y.numel(), dtype=y.dtype)).view_as(y) * y
    phase.explaining = True
    (signal,) = torch.autograd.grad((g * y).sum(), x, create_graph=True)
    phase.explaining = False
    return list(torch.autograd.grad((signal**3).sum(), (x, weight)))


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups", "size"), CASES)
def test_signal_and_double_backward(stride, padding, dilation, groups, size) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 4 // groups, 3, 2, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    phase = Phase(0.01)
    options = ConvOptions(stride, padding, dilation, groups)
    ours = RelevanceConv.apply(x, weight, bias, options, phase)
    theirs = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    assert torch.equal(ours, theirs)
    for a, b in zip(
        second_order(ours, x, weight, phase), second_order(theirs, x, weight, phase), strict=True
    ):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def test_first_order_gradients() -> None:
    x = torch.randn(2, 3, 7, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    options = ConvOptions((2, 2), (1, 1), (1, 1), 1)
    assert torch.autograd.gradcheck(
        lambda *t: RelevanceConv.apply(*t, options, Phase(0.01)), (x, weight, bias)
    )
