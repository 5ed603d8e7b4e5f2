"""The ISNet's loss is the stated sum, and its chance is its generator's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isnet_models.backbones import build_backbone
from isnet_models.heatmap_loss import HeatmapLossSettings, heatmap_loss
from isnet_models.lrp import relevance
from isnet_models.methods.base import Method
from isnet_models.methods.isnet import ISNet, ISNetSettings
from method_factory import batch


def test_isnet_total_is_the_weighted_sum() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    settings = ISNetSettings(
        weight={0: 0.25, 2: 0.5}, target="all", loss=HeatmapLossSettings(w2=2.0)
    )
    method: Method = ISNet(settings)
    maps = relevance(net, data.images, "all", zb=(0.0, 1.0)).maps
    heat = heatmap_loss(maps, data.masks, settings.loss).total
    ce = nn.functional.cross_entropy(net(data.images), data.labels)
    for epoch, P in ((0, 0.25), (1, 0.25), (2, 0.5), (7, 0.5)):
        total = method.losses(net, data, epoch).total
        assert total.item() == pytest.approx(((1 - P) * ce + P * heat).item(), rel=1e-4)


def test_stochastic_targets_follow_their_generator() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    values = []
    for seed in (1, 1, 2):
        stream = torch.Generator().manual_seed(seed)
        method = ISNet(ISNetSettings(target="stochastic"))
        method.begin_epoch(0, stream)
        values.append(method.losses(net, data, 0).total.item())
    assert values[0] == values[1] != values[2]


def test_the_history_shows_the_weight_of_the_epoch() -> None:
    method = ISNet(ISNetSettings(weight={0: 0.25, 2: 0.5}))
    assert [method.figures(epoch) for epoch in (1, 2)] == [
        {"heatmap_weight": 0.25},
        {"heatmap_weight": 0.5},
    ]
