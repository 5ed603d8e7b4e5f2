"""Vision transformers: sizes, channels, refusals, and a loss that is cross-entropy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from isnet_models.backbones import build_backbone, count_parameters
from isnet_models.explanations.rollout import attention_rollout
from isnet_models.methods.attention.vit import ViT
from isnet_models.methods.base import NetSpec
from isnet_models.methods.settings import ViTSettings
from tests.models.methods.factory import batch

SMALL = ViTSettings(arch="small", patch=8)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_small_one(channels: int) -> None:
    net = ViT.build(NetSpec("", 3, channels, 0.2, (32, 32), settings=SMALL)).eval()
    x = torch.rand(2, channels, 32, 32)
    assert net(x).shape == (2, 3)
    assert isinstance(net.heads.head[0], torch.nn.Dropout)
    maps = attention_rollout(net, x).maps
    assert maps.shape == (2, 1, 1, 32, 32)
    assert count_parameters(net) < 3e6


@pytest.mark.parametrize("arch", ["vit_b_16", "vit_b_32", "vit_l_16"])
def test_torchvision_s_are_torchvision_s(arch: Any) -> None:
    with torch.device("meta"):
        ours = ViT.build(NetSpec("", 5, 1, settings=ViTSettings(arch=arch)))
        theirs = build_backbone(arch, 5)
    shapes = {name: p.shape for name, p in ours.named_parameters()}
    assert shapes == {name: p.shape for name, p in theirs.named_parameters()}


def test_other_sizes_have_other_positions() -> None:
    with torch.device("meta"):
        net = ViT.build(NetSpec("", 2, size=(320, 320)))
    assert net.encoder.pos_embedding.shape[1] == 1 + 20 * 20


@pytest.mark.parametrize(
    ("size", "settings", "said"),
    [
        ((224, 240), ViTSettings(), r"patches of 16 px \(vit_b_16\) do not fill .* 224 x 240"),
        ((200, 200), ViTSettings(), r"16 px .* 200 x 200 px \(model.input\): expected a square"),
        ((240, 240), ViTSettings(arch="vit_b_32"), r"patches of 32 px"),
        ((36, 36), SMALL, r"patches of 8 px \(small\)"),
    ],
)
def test_images_that_patches_do_not_fill(
    size: tuple[int, int], settings: ViTSettings, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        ViT.build(NetSpec("", 2, size=size, settings=settings))


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="patch: belongs to arch small, vit_b_32 has its own"):
        ViTSettings(arch="vit_b_32", patch=8)


def test_the_loss_is_cross_entropy() -> None:
    torch.manual_seed(0)
    data = batch()
    net = ViT.build(NetSpec("", 3, size=(32, 32), settings=SMALL)).eval()
    torch.nn.init.normal_(net.heads.head.weight)
    losses = ViT(SMALL).losses(net, data, 0)
    expected = cross_entropy(net(data.images), data.labels)
    assert losses.total.item() == pytest.approx(expected.item())
