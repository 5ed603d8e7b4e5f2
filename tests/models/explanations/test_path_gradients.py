"""Integrated gradients: complete, equal to captum's, exact where the integral is known."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from isnet_models.explanations.path_gradients import integrated_gradients
from tests.support.seeded import seeded_backbone


def network() -> nn.Module:
    """With random shifts: without any, the logits grow in proportion to the image."""
    net = seeded_backbone("small", 3, seed=3).eval().double()
    generator = torch.Generator().manual_seed(2)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.bias.data.normal_(0, 0.5, generator=generator)
    return net


def images(count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, 32, 32, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("steps", [2, 7, 16])
def test_maps_equal_captum_s(steps: int) -> None:
    net, x, classes = network(), images(), torch.tensor([2, 0])
    found = integrated_gradients(net, x, classes, steps=steps)
    expected = IntegratedGradients(net).attribute(
        x, 0.0, classes, n_steps=steps, method="riemann_middle"
    )
    torch.testing.assert_close(found.maps[:, 0], expected)


def test_maps_add_up_to_the_difference_of_the_logits() -> None:
    net, x = network(), images()
    found = integrated_gradients(net, x, "all")
    with torch.no_grad():
        expected = net(x) - net(torch.zeros_like(x))
    assert found.total is not None
    torch.testing.assert_close(found.total, expected)
    sums = found.maps.sum(dim=(2, 3, 4))
    few = integrated_gradients(net, x, "all", steps=2).maps.sum(dim=(2, 3, 4))
    assert (sums - expected).abs().max() < 0.02 * expected.abs().max()
    assert (sums - expected).abs().max() < (few - expected).abs().max()


def test_the_integral_of_a_square_is_met() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([(x**2).sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3))], 1)

    x = images(1)
    found = integrated_gradients(Square(), x, "all", steps=3)  # midpoints are exact to x^2
    torch.testing.assert_close(found.maps[:, 0], x**2)
    torch.testing.assert_close(found.maps[:, 1], x)


def test_targets_agree_and_nothing_is_left_behind() -> None:
    net, x = network(), images(3)
    with torch.inference_mode():
        every = integrated_gradients(net, x, "all", steps=4)
        best = integrated_gradients(net, x, "predicted", steps=4)
    rows = torch.arange(3)
    torch.testing.assert_close(best.maps[:, 0], every.maps[rows, every.logits.argmax(1)])
    assert all(parameter.grad is None for parameter in net.parameters())
