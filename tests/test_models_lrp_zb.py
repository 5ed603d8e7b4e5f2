"""The zB rule against its slow transcription pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isnet_models.lrp import relevance
from isnet_models.lrp.rules import Phase
from isnet_models.lrp.tape import FirstLayer, Tape
from isnet_models.lrp.zb import first_layer_relevance, fuse

OPTIONS = {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


def slow_zb(
    x: Tensor, R: Tensor, W: Tensor, b: Tensor, e: float, low: float, high: float
) -> Tensor:
    """LRP_SPEC 2.8 with loops: one image, stride 2, padding 1 (padding counts as zero weight)."""
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
def test_equals_the_slow_transcription(low: float, high: float) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 2, 6, 5, dtype=torch.float64) * (high - low) + low
    conv = nn.Conv2d(2, 3, 3, 2, 1).double()
    layer = FirstLayer(conv.weight, conv.bias, OPTIONS, conv(x))
    R = torch.rand(1, 3, 3, 3, dtype=torch.float64)
    bounds = (torch.full((2,), v, dtype=torch.float64) for v in (low, high))
    fast = first_layer_relevance(x, R, layer, 0.01, *bounds)
    slow = slow_zb(x, R, conv.weight.detach(), conv.bias.detach(), 0.01, low, high)
    assert torch.allclose(fast, slow, atol=1e-12)


def test_fused_layer_computes_the_same_activation() -> None:
    torch.manual_seed(1)
    conv, bn = nn.Conv2d(1, 4, 3).double(), nn.BatchNorm2d(4).double()
    nn.init.uniform_(bn.weight, -1, 1)
    nn.init.normal_(bn.bias)
    bn.running_mean.normal_()
    bn.running_var.uniform_(0.5, 2)
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    tape = Tape(Phase(0.01), x)
    net = nn.Sequential(conv, bn.eval(), nn.ReLU())
    with tape:
        y = net(x)
    assert tape.first is not None
    assert tape.first.output is y
    weight, bias = fuse(tape.first)
    assert torch.allclose(nn.functional.conv2d(x, weight, bias).relu(), y, atol=1e-12)


def test_relevance_of_the_first_layer_is_conserved_without_bias() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 3, bias=False)
    ).double()
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    result = relevance(net, x, "all", epsilon=1e-9, zb=(0.0, 1.0))
    assert torch.allclose(result.maps.sum((2, 3, 4)), result.logits, rtol=1e-4, atol=1e-7)
