"""Mixed precision: float32 outputs, gradients near those of float32, far nearer than autocast's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_lrp import Compute, RelevanceError, relevance
from isnet_lrp.kernels.convolution import ConvOptions
from isnet_lrp.kernels.mixed import apply_linear_mixed, convolve_mixed
from isnet_models.backbones import build_backbone
from isnet_models.methods.base import Context
from isnet_models.methods.standard import Standard
from tests.models.methods.factory import batch, isnet


def _cosine(a: Tensor, b: Tensor) -> float:
    return F.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0).item()


def test_weighted_operations_round_their_gradients_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 9, 8, requires_grad=True)
    conv, linear = nn.Conv2d(4, 6, 3, 2, 1), nn.Linear(8, 5)
    options = ConvOptions((2, 2), (1, 1), (1, 1), 1)
    for plain, mixed, parameters in (
        (conv(x), convolve_mixed(x, conv.weight, conv.bias, options), list(conv.parameters())),
        (linear(x), apply_linear_mixed(x, linear.weight, linear.bias), list(linear.parameters())),
    ):
        assert torch.equal(plain, mixed)
        u = torch.randn_like(plain)
        for ours, theirs in zip(
            torch.autograd.grad(mixed, [x, *parameters], u),
            torch.autograd.grad(plain, [x, *parameters], u),
            strict=True,
        ):
            assert ours.dtype == torch.float32
            assert not torch.equal(ours, theirs) or ours.dim() == 1
            assert torch.allclose(ours, theirs, rtol=0.05, atol=0.05 * theirs.abs().max().item())


def _gradient(name: str, precision: str, variant: str = "selective") -> Tensor:
    torch.manual_seed(1)
    net, data = build_backbone(name, 3).train(), batch(size=64)
    method = isnet(autocast=precision == "mixed", heatmap_weight=1.0, variant=variant)
    losses = method.losses(net, data, 0)
    losses.total.backward()
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


@pytest.mark.parametrize("variant", ["selective", "flex", "original"])
@pytest.mark.parametrize("name", ["small", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_gradient_of_the_map_loss_keeps_its_direction(name: str, variant: str) -> None:
    cosine = _cosine(_gradient(name, "mixed", variant), _gradient(name, "float32", variant))
    assert 0.98 < cosine < 1 - 1e-9  # rounded, but not turned


def test_maps_and_layers_are_float32() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    asked = {"layers": "auto", "zb": (0.0, 1.0), "create_graph": True}
    mixed = relevance(net, data.images, "all", compute=Compute("mixed"), **asked)  # type: ignore[arg-type]
    exact = relevance(net, data.images, "all", **asked)  # type: ignore[arg-type]
    assert torch.equal(mixed.logits, exact.logits)
    for ours, theirs in zip(
        [mixed.maps, *mixed.layers.values()], [exact.maps, *exact.layers.values()], strict=True
    ):
        assert ours.dtype == torch.float32
        assert _cosine(ours, theirs) > 0.995


def test_a_rounded_forward_pass_is_refused_where_a_gradient_is_asked_for() -> None:
    net, data = build_backbone("small", 3), batch()
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RelevanceError, match="autocast"):
        relevance(net, data.images, create_graph=True)
    with pytest.raises(RelevanceError, match="half precision"):
        relevance(net.bfloat16(), data.images.bfloat16(), create_graph=True)
    with pytest.raises(RelevanceError, match="expected 'float32' or 'mixed'"):
        relevance(net, data.images, compute=Compute("half"))  # type: ignore[arg-type]
    with pytest.raises(RelevanceError, match="'flex' and 'block'"):
        relevance(net.float(), data.images, family="dual", compute=Compute("mixed"))


def test_the_plain_method_uses_autocast() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    half, full = (
        Standard(context=Context(autocast=on)).losses(net, data, 0) for on in (True, False)
    )
    assert half.logits.dtype == torch.float32
    assert not torch.equal(half.logits, full.logits)
    assert torch.allclose(half.logits, full.logits, atol=0.1)
