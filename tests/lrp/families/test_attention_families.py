"""AttnLRP, CP-LRP and gradient x input, against the gradient of networks written for it."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from isnet_lrp import relevance
from tests.lrp.nets import CLASSES, build, images


class Halved(torch.autograd.Function):
    """A product whose factors share the relevance: half of each gradient."""

    @staticmethod
    def forward(ctx: object, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)  # type: ignore[attr-defined]
        return a @ b

    @staticmethod
    def backward(ctx: object, g: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, b = ctx.saved_tensors  # type: ignore[attr-defined]
        return g @ b.transpose(-2, -1) / 2, a.transpose(-2, -1) @ g / 2


def identity(f: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """f(z) whose gradient is f(z)/z."""
    return z * (f(z) / z).detach()


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Layer norm whose deviation is a constant."""
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation.detach() * weight + bias


class Transformer(nn.Module):
    """Two blocks of attention and gelu over 2 x 2 patches; `written` decides by which rules."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.embed, self.written, self.spelling = nn.Conv2d(3, 8, 2, 2), "", spelling
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(4))
        self.attention = nn.ModuleList(nn.MultiheadAttention(8, 2) for _ in range(2))
        self.up = nn.ModuleList(nn.Linear(8, 12) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(12, 8) for _ in range(2))
        self.head = nn.Linear(8, CLASSES)
        for norm_ in self.norms:
            nn.init.uniform_(norm_.weight, 0.5, 1.5)
            nn.init.normal_(norm_.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).permute(2, 0, 1)
        for i in (0, 1):
            x = x + self.attend(self.attention[i], self.normalise(self.norms[2 * i], x))
            hidden = self.up[i](self.normalise(self.norms[2 * i + 1], x))
            x = x + self.down[i](self.bend(hidden))
        return self.head(x.mean(0))

    def normalise(self, layer: nn.LayerNorm, x: Tensor) -> Tensor:
        return norm(x, layer.weight, layer.bias) if self.written else layer(x)

    def bend(self, z: Tensor) -> Tensor:
        return identity(F.gelu, z) if self.written == "attnlrp" else F.gelu(z)

    def attend(self, layer: nn.MultiheadAttention, x: Tensor) -> Tensor:
        if self.spelling == "module" and not self.written:
            return layer(x, x, x, need_weights=False)[0]
        T, B, D = x.shape
        parts = F.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
        q, k, v = (t.reshape(T, B, 2, D // 2).permute(1, 2, 0, 3) for t in parts)
        if self.spelling == "function" and not self.written:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            product = Halved.apply if self.written == "attnlrp" else torch.matmul
            weights = (product(q, k.transpose(-2, -1)) / 2).softmax(-1)
            out = product(weights.detach() if self.written == "cp-lrp" else weights, v)
        return layer.out_proj(out.permute(2, 0, 1, 3).reshape(T, B, D))


def gradient_maps(net: nn.Module, x: Tensor) -> Tensor:
    image = x.clone().requires_grad_()
    rows = [torch.autograd.grad(y.sum(), image, retain_graph=True)[0] for y in net(image).unbind(1)]
    return torch.stack([x * g for g in rows], 1)


@pytest.mark.parametrize("spelling", ["module", "function", "products"])
@pytest.mark.parametrize("family", ["attnlrp", "cp-lrp"])
def test_maps_are_those_of_the_network_written_for_them(family: str, spelling: str) -> None:
    torch.manual_seed(0)
    net, x = Transformer(spelling).double().eval(), images(2, (6, 8))
    ours = relevance(net, x, "all", family=family, epsilon=0.0)
    net.written = family
    expected = gradient_maps(net, x)
    assert torch.allclose(ours.maps, expected, atol=1e-11 * expected.abs().max().item())
    assert torch.allclose(ours.logits, net(x), atol=1e-12)


@pytest.mark.parametrize("family", ["flex", "attnlrp", "cp-lrp", "gradient"])
def test_the_families_differ(family: str) -> None:
    torch.manual_seed(0)
    net, x = Transformer("module").double().eval(), images(2, (6, 8))
    found = relevance(net, x, "all", family=family, epsilon=0.0).maps
    others = {"flex", "attnlrp", "cp-lrp", "gradient"} - {family}
    for other in others:
        assert not torch.allclose(found, relevance(net, x, "all", family=other, epsilon=0.0).maps)


@pytest.mark.parametrize("name", ["basic", "dense", "chain", "vit", "odd"])
def test_gradient_is_captums_input_x_gradient(name: str) -> None:
    torch.manual_seed(0)
    x = images(2, (16, 16))
    if name == "vit":
        net: nn.Module = VisionTransformer(16, 4, 2, 2, 8, 16, num_classes=CLASSES)
    elif name == "odd":  # functions without a rule, constants elsewhere, gates
        net = Odd()
    else:
        net, x = build(name), images(2)
    net = net.double().eval()
    ours = relevance(net, x, "all", family="gradient").maps
    for k in range(CLASSES):
        theirs = captum.attr.InputXGradient(net).attribute(x.clone().requires_grad_(), target=k)
        assert torch.allclose(ours[:, k], theirs, atol=1e-11 * theirs.abs().max().item())


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x)
        z = torch.special.i1(z) * z.sigmoid() / (1 + z.square()) + z.softmax(1)
        z = z.div(z.std((2, 3), keepdim=True)) + (z.abs() + 0.1).log()
        return self.head(F.silu(z, inplace=True).amax((2, 3)))
