"""The network of HAM: every part by hand, and around each family of backbones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from isnet_models.explanations.gradcam import grad_cam
from isnet_models.methods.attention.ham import HAM
from isnet_models.methods.attention.ham_net import (
    ForegroundAttention,
    HAMNet,
    activation_maps,
    feature_extractor,
    log_sum_exp,
)
from isnet_models.methods.base import NetSpec

LARGE = [pytest.param(arch, marks=pytest.mark.slow) for arch in ("resnet50", "densenet121")]


def built(arch: str, side: int = 64) -> HAMNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = HAM.build(NetSpec(arch, 3, size=(side, side), dropout=0.2))
    assert isinstance(net, HAMNet)
    return net


@pytest.mark.parametrize("arch", ["small", "resnet18", *LARGE])
def test_logits_and_maps_of_each_family(arch: str) -> None:
    net = built(arch)
    assert all(module.training for module in net.modules())
    net.eval()
    x = torch.rand(2, 1, 64, 64)
    seen = net.attention(x)
    assert torch.equal(seen.logits, net(x))
    assert seen.logits.shape == (2, 3)
    assert seen.abnormality.shape == (2,)
    assert seen.class_maps.shape == (2, 3, 2, 2)
    assert seen.abnormality_map.shape == (2, 1, 2, 2)
    assert seen.class_maps.min() >= 0
    assert seen.class_maps.max() > 0
    assert grad_cam(net, x, "all").maps.shape == (2, 3, 1, 64, 64)
    last = list(net.state_dict())[-1]
    assert last == "classes.weight"  # what another number of classes begins anew


def test_the_extractor_is_the_backbone_before_its_pooling() -> None:
    from isnet_models.backbones import build_backbone

    x = torch.rand(2, 1, 64, 64)
    for arch, last in (("small", "fc"), ("resnet18", "fc"), ("densenet121", "classifier")):
        net = build_backbone(arch, 4).eval()
        found = feature_extractor(net)
        assert found is not None
        features, channels = found
        assert channels == net.get_submodule(last).in_features
        maps = features(x)
        logits = net.get_submodule(last)(maps.mean(dim=(2, 3)))
        torch.testing.assert_close(logits, net(x), rtol=1e-4, atol=1e-5)
    assert feature_extractor(build_backbone("squeezenet1_1", 2)) is None


def test_pooling_and_maps_by_hand() -> None:
    F = torch.tensor([[[[0.0, 1.0], [2.0, 0.5]], [[3.0, 0.0], [0.0, 1.0]]]])
    for c, values in enumerate(([0, 1, 2, 0.5], [3, 0, 0, 1])):
        by_hand = math.log(sum(math.exp(6 * v) for v in values) / 4) / 6
        assert log_sum_exp(F)[0, c].item() == pytest.approx(by_hand, rel=1e-6)
    weight = torch.tensor([[1.0, -1.0]], requires_grad=True)
    maps = activation_maps(F, weight)
    assert torch.equal(maps, torch.tensor([[[[0.0, 1.0], [2.0, 0.0]]]]))
    assert not maps.requires_grad


def test_foreground_attention_by_hand() -> None:
    block = ForegroundAttention(16).eval()
    x = torch.rand(2, 16, 3, 4)
    assert torch.equal(block(x), x)  # its gain starts at 0
    block.gain.data[:] = 2.0
    out = torch.empty_like(x)
    for b in range(2):
        scores = block.where.weight[0, :, 0, 0] @ x[b].flatten(1)
        share = scores.exp() / scores.exp().sum()
        vector = x[b].flatten(1) @ share
        down, up = block.channel_gate[0].weight, block.channel_gate[2].weight
        gate = torch.sigmoid(up @ (down @ vector).clamp(min=0))
        mixed = torch.einsum("dc,chw->dhw", block.mix.weight[:, :, 0, 0], x[b])
        gated = mixed * gate[:, None, None]
        out[b] = x[b] + 2 * gated * block.position_gate(gated[None])[0]
    torch.testing.assert_close(block(x), out)


def test_refusals_say_what_to_type() -> None:
    with pytest.raises(ValueError, match=r"squeezenet1_1: ham is built .*small.*type model.arch"):
        HAM.build(NetSpec("squeezenet1_1", 2))
    with pytest.raises(ValueError, match=r"one position.*type model.input: 128"):
        HAM.build(NetSpec("small", 2, size=(32, 32)))
    with pytest.raises(ValueError, match="did you mean resnet18"):
        HAM.build(NetSpec("resnet81", 2))


def test_dropout_is_in_the_head() -> None:
    found = [m for m in built("small").head if isinstance(m, nn.Dropout2d)]
    assert [m.p for m in found] == [0.2]
