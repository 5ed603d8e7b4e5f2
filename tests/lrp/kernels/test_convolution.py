"""The geometry of convolutions: transposes of any stride, padding, dilation and groups."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_lrp.kernels.convolution import (
    ConvOptions,
    as_pair,
    find_phases,
    transpose_by_phases,
    transpose_pointwise,
)

PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def geometries(draw: st.DrawFn) -> tuple[ConvOptions, tuple[int, int], tuple[int, int]]:
    """Options, kernel and input size; odd rests of any stride arise."""
    kernel, stride = draw(PAIRS), draw(PAIRS)
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    groups = draw(st.sampled_from([1, 2]))
    least = [max(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) for i in (0, 1)]
    height, width = (draw(st.integers(n, n + 6)) for n in least)
    return ConvOptions(stride, padding, dilation, groups), kernel, (height, width)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(geometries())
def test_transpose_is_the_transposed_matrix(
    drawn: tuple[ConvOptions, tuple[int, int], tuple[int, int]],
) -> None:
    options, kernel, size = drawn
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 4 // options.groups, *kernel, dtype=torch.float64, generator=generator)
    x = torch.randn(1, 4, *size, dtype=torch.float64, generator=generator)
    y = options.apply(x, weight)
    g = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    dx, dw = torch.autograd.functional.vjp(options.apply, (x, weight), g)[1]
    assert torch.allclose(options.transpose(g, weight, size), dx, atol=1e-12)
    assert torch.allclose(options.differentiate_weight(x, g, weight), dw, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "expected"), [(3, (3, 3)), ([2, 5], (2, 5)), ((4,), (4, 4)), ((1, 2), (1, 2))]
)
def test_sizes_as_pairs(value: Any, expected: tuple[int, int]) -> None:
    assert as_pair(value) == expected


def test_a_size_must_be_whole_numbers() -> None:
    with pytest.raises(TypeError, match="one or two integers"):
        as_pair("same")


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
    found = transpose_by_phases(
        s, weight, options.stride, options.padding, options.dilation, (H, W)
    )
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
    table, before = find_phases(7, 2, 3, 1)
    assert before == 1
    assert table.tolist() == [[5, 3, 1, 7], [6, 4, 2, 0]]


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("side", [3, 9])
def test_a_pointwise_transpose_of_few_and_many_pixels(side: int, graph: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    g = torch.randn(3, 5, side * side, dtype=torch.float64, generator=generator)
    with torch.set_grad_enabled(graph):
        found = transpose_pointwise(g, weight)
    assert found.is_contiguous() or graph
    expected = torch.stack([weight.T @ one for one in g])
    assert torch.allclose(found, expected, atol=1e-12)
