"""The multi-task U-Net: loss and gradient by hand, any size, images without masks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from isnet_lrp import relevance
from isnet_models.backbones import count_parameters
from isnet_models.features import decision_features
from isnet_models.methods.base import Batch, NetSpec
from isnet_models.methods.segmentation.multitask_unet import (
    MultitaskUNet,
    UNetWithHead,
    segmentation_loss,
)
from isnet_models.methods.settings import MultitaskSettings
from tests.models.methods.factory import batch

SMALL = MultitaskSettings(segmentation_weight=0.3, width=4, depth=3, hidden=8)


def network(channels: int = 1, size: tuple[int, int] = (32, 32)) -> UNetWithHead:
    torch.manual_seed(1)
    found = MultitaskUNet.build(NetSpec("ignored", 3, channels, 0.0, size, settings=SMALL))
    assert isinstance(found, UNetWithHead)
    return found.eval()


def partly_masked() -> Batch:
    data = batch()
    data.masks[1::2] = 0
    return data


def by_hand(logits: Tensor, pixels: Tensor, data: Batch, P: float) -> float:
    """XRay by image and pixel by pixel."""
    classes = -sum(
        math.log(logits[b].double().softmax(0)[data.labels[b]]) for b in range(len(logits))
    ) / len(logits)
    images = []
    for b in range(len(logits)):
        if not data.masks[b].any():
            continue
        p = pixels[b, 0].double().sigmoid().tolist()
        m = data.masks[b, 0].tolist()
        each = [
            -math.log(q if y else 1 - q)
            for row, ys in zip(p, m, strict=True)
            for q, y in zip(row, ys, strict=True)
        ]
        images.append(sum(each) / len(each))
    return (1 - P) * classes + P * sum(images) / len(images)


def test_the_loss_by_hand() -> None:
    net, data = network(), partly_masked()
    found = MultitaskUNet(SMALL).losses(net, data, 0)
    with torch.no_grad():
        logits, pixels = net.both(data.images)
    assert found.total.item() == pytest.approx(by_hand(logits, pixels, data, 0.3), rel=1e-5)
    assert found.total.item() == pytest.approx(
        0.7 * found.parts["classification"].item() + 0.3 * found.parts["segmentation"].item()
    )
    torch.testing.assert_close(found.logits, net(data.images))


def test_the_gradient_by_differences() -> None:
    net, data = network().double(), partly_masked()
    data = Batch(data.images.double(), data.masks.double(), data.labels)
    method = MultitaskUNet(SMALL)
    method.losses(net, data, 0).total.backward()
    g = torch.Generator().manual_seed(0)
    for name in ("encoder.0.0.weight", "up.0.weight", "segmentation.bias", "head.8.weight"):
        p = net.get_parameter(name)
        direction = torch.randn(p.shape, generator=g, dtype=p.dtype)
        values, step = [], 1e-6
        for sign in (1, -1):
            with torch.no_grad():
                p += sign * step * direction
                values.append(method.losses(net, data, 0).total.item())
                p -= sign * step * direction
        slope = (p.grad * direction).sum().item()
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-7)


def test_images_without_masks_take_part_in_the_classification_alone() -> None:
    net, data = network(), batch()
    pixels = net.both(data.images)[1]
    half = data.masks.clone()
    half[3:] = 0
    assert segmentation_loss(pixels, half).item() == pytest.approx(
        segmentation_loss(pixels[:3], data.masks[:3]).item()
    )
    none = Batch(data.images, torch.zeros_like(data.masks), data.labels)
    losses = MultitaskUNet(SMALL).losses(net, none, 0)
    losses.total.backward()
    expected = 0.7 * cross_entropy(net(data.images), data.labels)
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert losses.parts["segmentation"].item() == 0
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("size", [(32, 32), (33, 35), (47, 32), (4, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(size: tuple[int, int], channels: int) -> None:
    net = network(channels, size)
    logits, pixels = net.both(torch.rand(2, channels, *size))
    assert logits.shape == (2, 3)
    assert pixels.shape == (2, 1, *size)


def test_too_small_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"depth 5 needs images of 16 px .*model.input is \[32, 8"):
        MultitaskUNet.build(NetSpec("", 2, size=(32, 8)))


def test_the_published_size() -> None:
    """Ronneberger's U-Net with BatchNorm and VGG's head on 1024 · 7 · 7 features."""
    with torch.device("meta"):
        net = MultitaskUNet.build(NetSpec("", 2))
    head = 1024 * 49 * 4096 + 4096 + 4096**2 + 4096 + 2 * 4096 + 2
    widths = [64, 128, 256, 512, 1024]
    down = sum(9 * (a + b) * b + 4 * b for a, b in zip([1, *widths], widths, strict=False))
    up = sum(4 * 2 * b * b + b + 9 * (2 * b + b) * b + 4 * b for b in widths[:-1])
    assert count_parameters(net) == head + down + up + 64 + 1


def test_maps_and_features_are_the_head_s() -> None:
    net, x = network(), batch(2).images
    found = relevance(net, x, "all", family="flex", epsilon=0.0, zb=(0.0, 1.0))
    assert torch.isfinite(found.maps).all()
    assert decision_features(net, x)[1].shape == (2, SMALL.hidden)


def test_relevance_without_biases_is_conserved() -> None:
    net, x = network().double(), batch(2).images.double()
    with torch.no_grad():
        for module in net.modules():
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.zero_()
    found = relevance(net, x, "all", family="flex", epsilon=0.0)
    torch.testing.assert_close(found.maps.sum((2, 3, 4)), found.logits)
