"""Maps of one function of the image against plain input x gradient of its twin."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isnet_lrp import relevance


class OneStep(nn.Module):
    """conv - f - mean over pixels - linear, float64; f keeps [B, 6, 8, 8]."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv, self.fc, self.f = nn.Conv2d(2, 6, 3, padding=1), nn.Linear(6, 3), f
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.f(self.conv(x)).mean((2, 3)))


def images() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(2, 2, 8, 8, generator=generator, dtype=torch.float64)


def error(f: Callable[[Tensor], Tensor], twin: Callable[[Tensor], Tensor], epsilon: float) -> float:
    """Largest difference of the maps, relative to the largest value; logits must agree."""
    net, x = OneStep(f).eval(), images()
    found = relevance(net, x, "all", epsilon=epsilon)
    image = x.clone().requires_grad_()
    net.f = twin
    logits = net(image)
    assert torch.allclose(found.logits, logits, atol=1e-10)
    rows = [torch.autograd.grad(y.sum(), image, retain_graph=True)[0] for y in logits.unbind(1)]
    theirs = torch.stack([x * g for g in rows], 1)
    return ((found.maps - theirs).abs().max() / theirs.abs().max()).item()


def straight(value: Tensor, path: Tensor) -> Tensor:
    """`value` forwards, the gradient of `path` backwards."""
    return value.detach() + path - path.detach()
