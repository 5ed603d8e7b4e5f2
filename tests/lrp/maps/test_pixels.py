"""Networks that return images, explained at a pixel: ways of upsampling, the lung U-Net."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_lrp import relevance
from isnet_models.lung_unet import lung_unet, standardise


class Pixel(nn.Module):
    """The logits of one pixel of what a network returns."""

    def __init__(self, net: nn.Module, row: int, column: int) -> None:
        super().__init__()
        self.net, self.row, self.column = net, row, column

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, :, self.row, self.column]


class Up(nn.Module):
    """Half the size, and back by one way of upsampling."""

    def __init__(self, up: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.down, self.mix, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(2, 2, 3, padding=1), up

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.up(self.down(x).relu())[:, :2].relu())


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "nearest": nn.Upsample(scale_factor=2),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "bicubic": lambda z: F.interpolate(z, scale_factor=2, mode="bicubic"),
    "shuffled": nn.PixelShuffle(2),
    "transposed": nn.ConvTranspose2d(8, 2, 2, 2).double(),
}  # fmt: skip


def check(net: nn.Module, x: Tensor, inside: tuple[int, int], family: str = "flex") -> None:
    """At epsilon 0 gradient x input, in a family for which that is so; others have maps."""
    image = x.clone().requires_grad_()
    row, column = inside
    explained = Pixel(net, row, column).double().eval()
    (slope,) = torch.autograd.grad(explained(image)[:, 0].sum(), image)
    index = torch.zeros(len(x), dtype=torch.int64)
    found = relevance(explained, x, index, family=family, epsilon=0.0).maps[:, 0]
    assert slope.abs().max() > 0
    assert torch.allclose(found, x * slope, atol=1e-12 * slope.abs().max().item())
    for other in ("flex", "block"):
        assert relevance(explained, x, index, family=other).maps.abs().max() > 0


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_a_larger_image(way: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 12, 10, dtype=torch.float64)
    net = Up(WAYS[way]).double()
    check(net, x, (5, 6))
    found = relevance(Pixel(net, 1, 1).eval(), x, "all", epsilon=0.0).maps
    assert found[..., 9:, 7:].abs().max() == 0  # far from the pixel


def test_a_pixel_of_the_shipped_lung_unet() -> None:
    torch.manual_seed(0)
    x = standardise(torch.rand(1, 1, 64, 64)).double()
    check(lung_unet().unet, x, (30, 20), family="gradient")
