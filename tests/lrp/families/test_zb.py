"""The zB rule against its slow transcription pixel by pixel, and its parts against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import relevance
from isnet_lrp.families.zb import (
    FirstLayer,
    convolve_ones,
    divide,
    find_first_layer,
    propagate_zb,
    sum_over_channels,
)
from isnet_lrp.kernels.convolution import ConvOptions
from isnet_lrp.record.recorder import Recorder, Rules

OPTIONS = ConvOptions((2, 2), (1, 1), (1, 1), 1)


def slow_zb(
    x: Tensor, R: Tensor, W: Tensor, b: Tensor, e: float, low: float, high: float
) -> Tensor:
    """docs/lrp.md, section 2.8, in loops: one image, stride 2, padding 1 (it counts as 0)."""
    out = torch.zeros_like(x)
    _, _, H, Wd = x.shape
    outputs, inputs, k, _ = W.shape
    for o in range(outputs):
        for p in range(R.shape[2]):
            for q in range(R.shape[3]):
                terms = [
                    (i, 2 * p - 1 + u, 2 * q - 1 + v, W[o, i, u, v])
                    for i in range(inputs)
                    for u in range(k)
                    for v in range(k)
                    if 0 <= 2 * p - 1 + u < H and 0 <= 2 * q - 1 + v < Wd
                ]
                shares = [
                    x[0, i, y, z] * w - low * w.clamp(min=0) - high * w.clamp(max=0)
                    for i, y, z, w in terms
                ]
                total = sum(shares) + b[o] - low * b[o].clamp(min=0) - high * b[o].clamp(max=0)
                s = R[0, o, p, q] / (total + (e if total >= 0 else -e))
                for (i, y, z, _), share in zip(terms, shares, strict=True):
                    out[0, i, y, z] += share * s
    return out


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.5, 2.0)])
@pytest.mark.parametrize("scaled", [False, True])
def test_equals_the_slow_transcription(scaled: bool, low: float, high: float) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 2, 6, 5, dtype=torch.float64) * (high - low) + low
    conv = nn.Conv2d(2, 3, 3, 2, 1).double()
    assert conv.bias is not None
    scale = torch.tensor([-1.5, 0.5, 2.0], dtype=torch.float64) if scaled else None
    factor = torch.ones(3, dtype=torch.float64) if scale is None else scale
    bias = (conv.bias * factor).detach() + 0.1
    layer = FirstLayer(conv(x), conv.weight, conv.bias, scale, bias, OPTIONS)
    R = torch.rand(1, 3, 3, 3, dtype=torch.float64)
    bounds = (torch.full((2,), v, dtype=torch.float64) for v in (low, high))
    fast = propagate_zb(x, R[None], layer, 0.01, *bounds)[0]
    weight = (conv.weight * factor.view(-1, 1, 1, 1)).detach()
    slow = slow_zb(x, R, weight, bias, 0.01, low, high)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)


def test_fused_layer_computes_the_same_activation() -> None:
    torch.manual_seed(1)
    conv, bn = nn.Conv2d(1, 4, 3).double(), nn.BatchNorm2d(4).double()
    nn.init.uniform_(bn.weight, -1, 1)
    nn.init.normal_(bn.bias)
    assert bn.running_mean is not None
    assert bn.running_var is not None
    bn.running_mean.normal_()
    bn.running_var.uniform_(0.5, 2)
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64).requires_grad_()
    recorder = Recorder(Rules(0.01), x)
    with recorder:
        y = bn.eval()(conv(x))
    assert recorder.first is not None
    layer = find_first_layer(recorder.graph, recorder.first[0])
    assert torch.allclose(nn.functional.conv2d(x, layer.fuse_weights(), layer.bias), y, atol=1e-12)
    nothing = torch.zeros(4, dtype=torch.float64)
    assert torch.allclose(layer.subtract(nothing), y, atol=1e-12)


def test_biases_of_the_first_layer_are_constants() -> None:
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    ).double()
    net.eval()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_()
    x = torch.rand(2, 2, 6, 6, dtype=torch.float64)
    tape_x = x.clone().requires_grad_()
    recorder = Recorder(Rules(0.01), tape_x)
    with torch.enable_grad(), recorder:
        net[:2](tape_x)
    assert recorder.first is not None
    layer = find_first_layer(recorder.graph, recorder.first[0])
    z = layer.subtract(torch.zeros(4, dtype=torch.float64))
    by_bias = torch.autograd.grad(z.sum(), [net[0].bias, net[1].bias], allow_unused=True)
    assert all(g is None or float(g.abs().max()) < 1e-12 for g in by_bias)


@pytest.mark.parametrize("groups", [1, 2])
def test_response_to_constant_planes_is_a_convolution(groups: int) -> None:
    torch.manual_seed(3)
    options = ConvOptions((2, 1), (3, 0), (1, 2), groups)
    weight = torch.randn(4, 6 // groups, 5, 3, dtype=torch.float64)
    values = torch.randn(6, dtype=torch.float64)
    planes = values.view(1, -1, 1, 1).expand(1, 6, 7, 9)
    wanted = options.apply(planes, weight)[0]
    found = convolve_ones(
        sum_over_channels(weight, values, groups), options, (7, 9), wanted.shape[1:]
    )
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("maps", [1, 3])
def test_division_and_its_derivatives(maps: int) -> None:
    torch.manual_seed(5)
    R = torch.randn(maps, 2, 3, dtype=torch.float64, requires_grad=True)
    z = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda R, z: divide(R, z, 0.01), (R, z))
    assert torch.equal(divide(R, z, 0.01), R / (z + 0.01 * z.sign()))


def test_relevance_of_the_first_layer_is_conserved_without_bias() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 3, bias=False)
    ).double()
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    result = relevance(net, x, "all", epsilon=1e-9, zb=(0.0, 1.0))
    assert torch.allclose(result.maps.sum((2, 3, 4)), result.logits, rtol=1e-4, atol=1e-7)
