"""Operations with weights: transposed convolutions of any geometry, BatchNorm as an affine map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from isnet_lrp import relevance
from isnet_lrp.ops.affine import BatchNorm, ConvOptions, Linear, pair

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
    assert torch.allclose(options.weight_gradient(x, g, weight), dw, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "expected"), [(3, (3, 3)), ([2, 5], (2, 5)), ((4,), (4, 4)), ((1, 2), (1, 2))]
)
def test_sizes_as_pairs(value: Any, expected: tuple[int, int]) -> None:
    assert pair(value) == expected


def test_a_size_must_be_whole_numbers() -> None:
    with pytest.raises(TypeError, match="one or two integers"):
        pair("same")


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 5)])
def test_linear_layers_of_vectors_and_tokens(shape: tuple[int, ...]) -> None:
    weight = torch.randn(3, 5, dtype=torch.float64)
    g = torch.randn(2, *shape[:-1], 3, dtype=torch.float64)
    found = Linear("linear", (0,), (1,), weight=weight).signal([g])[0]
    assert found is not None
    assert torch.allclose(found, g @ weight)
    assert Linear("linear", (0,), (1,), weight=weight).signal([None]) == [None]


@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm_as_scale_and_shift(affine: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, affine=affine).double().eval()
    norm.running_mean, norm.running_var = torch.randn(4).double(), torch.rand(4).double() + 0.5
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    op = BatchNorm(
        "batch_norm", (0,), (1,), gamma=norm.weight, beta=norm.bias, mean=norm.running_mean,
        invstd=(norm.running_var + norm.eps).rsqrt(),
    )  # fmt: skip
    y = x * op.scale().view(4, 1, 1) + op.shift().view(4, 1, 1)
    assert torch.allclose(y, norm(x), atol=1e-12)
    if affine:  # beta is a constant
        (slope,) = torch.autograd.grad(op.shift().sum(), norm.bias, allow_unused=True)
        assert slope is None
    g = torch.randn(2, 2, 4, 3, 3, dtype=torch.float64)
    found = op.signal([g])[0]
    assert found is not None
    for ours, row in zip(found, g, strict=True):
        assert torch.allclose(ours, torch.autograd.functional.vjp(norm, x, row)[1], atol=1e-12)


def gradient_maps(net: nn.Module, x: Tensor) -> Tensor:
    image = x.clone().requires_grad_()
    y = net(image)
    rows = [torch.autograd.grad(y[:, k].sum(), image, retain_graph=True)[0] for k in range(2)]
    return torch.stack([x * row for row in rows], 1)


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, momentum=None),
        nn.BatchNorm2d(4, track_running_stats=False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("training", [False, True])
def test_every_kind_of_batch_norm_runs_as_torch_runs_it(norm: nn.Module, training: bool) -> None:
    """Outputs, running statistics and, in evaluation mode, gradient x input at epsilon 0."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)
    ).double().train(training)  # fmt: skip
    x = torch.rand(3, 2, 5, 6, dtype=torch.float64)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    plain = net(x)
    after = {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    result = relevance(net, x, "all", epsilon=0.0)
    assert torch.allclose(result.logits, plain, atol=1e-13)
    for key, value in net.state_dict().items():
        assert torch.allclose(value.double(), after[key].double(), atol=1e-14), key
    if not training and norm.running_mean is not None:
        assert torch.allclose(result.maps, gradient_maps(net, x), atol=1e-12)


def test_batch_norm_of_vectors() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)
    ).double().eval()  # fmt: skip
    net[2].running_mean.normal_()
    x = torch.rand(3, 2, 2, 3, dtype=torch.float64)
    maps = relevance(net, x, "all", epsilon=0.0).maps
    assert torch.allclose(maps, gradient_maps(net, x), atol=1e-12)
    for family in ("block", "z+"):
        assert relevance(net, x, "all", family=family).maps.abs().sum() > 0


def test_one_value_per_channel_is_refused_while_training() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="more than 1 value"):
        relevance(net.train(), torch.rand(1, 2, 3, 3))
