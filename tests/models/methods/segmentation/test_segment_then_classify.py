"""The pipeline: a frozen segmenter, training on given masks, maps that end at the mask."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from isnet_cli.images.resize import resize
from isnet_lrp import relevance
from isnet_lrp.errors import UnsupportedOperation
from isnet_models.backbones import build_backbone
from isnet_models.lung_unet import lung_unet
from isnet_models.methods.base import Batch
from isnet_models.methods.segmentation.segment_then_classify import (
    LungsOnly,
    SegmentThenClassify,
)
from isnet_models.methods.settings import SegmentSettings
from isnet_models.methods.standard import Standard
from tests.models.methods.factory import batch, spec


class Left(nn.Module):
    """Says that the left half of its 256 x 256 px is lung; notes what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.norm = nn.BatchNorm2d(1)
        self.given: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == (1, 256, 256)
        self.given.append(images)
        found = torch.sigmoid(self.norm(images) * 0 + self.bias) * 0.2
        found[..., :128] += 0.8
        return found


class Nowhere(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images * 0


def pipeline(segmenter: nn.Module | None = None, channels: int = 1) -> LungsOnly:
    torch.manual_seed(2)
    classifier = build_backbone("small", 3, channels=channels)
    return LungsOnly(segmenter or Left(), classifier, "segment")


def images(count: int = 2, size: tuple[int, int] = (32, 32), channels: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, *size, generator=g).expand(-1, channels, -1, -1).contiguous()


@pytest.mark.parametrize("size", [(32, 32), (256, 256), (300, 300), (64, 48), (40, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_classifier_sees_the_lungs_alone(size: tuple[int, int], channels: int) -> None:
    net, x = pipeline(channels=channels).eval(), images(2, size, channels)
    masks = net.lungs(x)
    assert masks.shape == (2, 1, *size)
    expected = torch.zeros_like(masks)
    expected[..., : size[1] // 2] = 1
    assert torch.equal(masks, expected)
    torch.testing.assert_close(net(x), net.classifier(x * expected))
    assert torch.equal(net(x), net.classify(x, masks))


def test_the_segmenter_gets_the_image_letterboxed() -> None:
    net, x = pipeline(), images(1, (64, 48))
    net.lungs(x)
    (given,) = net.segmenter.given
    by_pillow = resize(x[0, 0].numpy(), (256, 192))
    np.testing.assert_allclose(given[0, 0, :, 32:224], by_pillow, atol=2e-3)
    assert given[..., :32].abs().max() == given[..., 224:].abs().max() == 0


def test_the_shipped_segmenter_finds_what_it_finds_alone() -> None:
    unet, x = lung_unet(), images(1, (256, 256))
    x[..., 60:200, 40:110] *= 0.3
    x[..., 60:200, 150:220] *= 0.3
    with torch.no_grad():
        expected = unet(x) >= 0.5
    assert torch.equal(pipeline(unet).lungs(x).bool(), expected)


def test_the_segmenter_never_learns() -> None:
    net, x = pipeline(), images()
    net.train()
    assert net.classifier.training
    assert not any(m.training for m in net.segmenter.modules())
    assert not any(p.requires_grad for p in net.segmenter.parameters())
    before = {k: v.clone() for k, v in net.segmenter.state_dict().items()}
    net(x).sum().backward()
    assert all(p.grad is None for p in net.segmenter.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.segmenter.state_dict().items())


def test_a_image_without_lungs_is_black_and_not_whole() -> None:
    net, x = pipeline(Nowhere()).eval(), images()
    torch.testing.assert_close(net(x), net.classifier(torch.zeros_like(x)))
    assert not torch.allclose(net(x), net.classifier(x))


def test_the_whole_image_at_test_is_an_ablation() -> None:
    net, x = pipeline().eval(), images()
    cut = net(x)
    net.at_test = "whole"
    assert torch.equal(net(x), net.classifier(x))
    assert not torch.allclose(net(x), cut)
    settings = SegmentSettings(at_test="whole")
    built = SegmentThenClassify.build(
        dataclasses.replace(spec("segment_then_classify"), settings=settings)
    )
    assert built.at_test == "whole"


def test_its_masks_give_the_logits_of_the_network() -> None:
    net, x = pipeline(Nowhere()).eval(), images()
    assert not SegmentThenClassify().lungs(net, x).any()
    net = pipeline().eval()
    lungs = SegmentThenClassify().lungs(net, x)
    data = Batch(x, lungs, torch.zeros(len(x), dtype=torch.long))
    assert torch.equal(SegmentThenClassify().losses(net, data, 0).logits, net(x))
    net.at_test = "whole"
    assert SegmentThenClassify().lungs(net, x) is None
    assert Standard().lungs(net.classifier, x) is None


def test_losses_are_those_of_the_cut_images_and_need_no_segmenter() -> None:
    net, data = pipeline().eval(), batch()
    losses = SegmentThenClassify().losses(net, data, 0)
    losses.total.backward()
    assert net.segmenter.given == []
    ours = [p.grad.clone() for p in net.classifier.parameters()]
    net.zero_grad()
    cut = data.images.clone()
    cut[(data.masks == 0).expand_as(cut)] = 0
    expected = cross_entropy(net.classifier(cut), data.labels)
    expected.backward()
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)
    theirs = [p.grad for p in net.classifier.parameters()]
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("family", ["flex", "block", "z+"])
def test_relevance_ends_at_the_mask(family: str) -> None:
    """The mask is a constant: the classifier's own maps of the cut image, black pixels without."""
    net, x = pipeline().eval(), images()
    cut = x * net.lungs(x)
    found = relevance(net, x, "all", family=family)
    alone = relevance(net.classifier, cut, "all", family=family)
    torch.testing.assert_close(found.maps, alone.maps, rtol=1e-4, atol=1e-6)
    assert (found.maps[..., 16:] == 0).all()
    assert (found.maps[..., :16] != 0).any()


def test_the_rule_of_bounded_pixels_is_off() -> None:
    """A blackened pixel is bounded by 0 and 0, which the rule's fixed bounds do not say."""
    assert not SegmentThenClassify.bounded
    with pytest.raises(UnsupportedOperation):
        relevance(pipeline().eval(), images(), zb=(0.0, 1.0))


def test_a_network_without_segmenter_is_refused() -> None:
    with pytest.raises(ValueError, match="no lung U-Net"):
        SegmentThenClassify.build(
            dataclasses.replace(spec("segment_then_classify"), segmenter=None)
        )
