"""The ISNet's loss is the stated sum, and its chance is its generator's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isnet_lrp import relevance
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss
from isnet_models.backbones import build_backbone
from isnet_models.methods.base import Context, Method
from isnet_models.methods.guided.isnet import ISNet
from isnet_models.methods.settings import ISNetSettings
from tests.models.methods.factory import batch, isnet


def test_isnet_total_is_the_weighted_sum() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    loss = HeatmapLossSettings(foreground_weight=2.0, share=0.1)
    method: Method = isnet(
        heatmap_weight={0: 0.25, 2: 0.5},
        variant="flex",
        foreground_weight=2.0,
        pooling_share=0.1,
        layers="none",
    )
    maps = relevance(net, data.images, "all", zb=(0.0, 1.0)).maps
    heat = heatmap_loss(maps, data.masks, loss).total
    ce = nn.functional.cross_entropy(net(data.images), data.labels)
    for epoch, P in ((0, 0.25), (1, 0.25), (2, 0.5), (7, 0.5)):
        total = method.losses(net, data, epoch).total
        assert total.item() == pytest.approx(((1 - P) * ce + P * heat).item(), rel=1e-4)


def test_stochastic_targets_follow_their_generator() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    values = []
    for seed in (1, 1, 2):
        stream = torch.Generator().manual_seed(seed)
        method = isnet(variant="stochastic")
        method.begin_epoch(0, stream)
        values.append(method.losses(net, data, 0).total.item())
    assert values[0] == values[1] != values[2]


def test_validation_takes_nothing_from_the_generator() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    method = isnet(variant="stochastic")
    values = []
    for seed in (1, 2):
        stream = torch.Generator().manual_seed(seed)
        method.begin_epoch(0, stream)
        before = stream.get_state()
        with torch.no_grad():
            values += [method.losses(net, data, 0).total.item() for _ in range(2)]
        assert torch.equal(stream.get_state(), before)
    assert len(set(values)) == 1


def test_the_weight_is_warmed_up_in_equal_steps() -> None:
    method = isnet(heatmap_weight=0.6, warmup_epochs=2)
    weights = [method.figures(epoch)["heatmap_weight"] for epoch in range(4)]
    assert weights == pytest.approx([0.2, 0.4, 0.6, 0.6])
    changing = isnet(heatmap_weight={0: 0.6, 1: 0.3}, warmup_epochs=2)
    weights = [changing.figures(epoch)["heatmap_weight"] for epoch in range(3)]
    assert weights == pytest.approx([0.2, 0.2, 0.3])


def test_pooling_and_margin_reach_the_loss() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    maps = relevance(net, data.images, "selective", zb=(0.0, 1.0)).maps
    ce = nn.functional.cross_entropy(net(data.images), data.labels)
    for given, constants in (
        ({"pooling_share": 0.2}, {"share": 0.2}),
        ({"pooling_share": 0.2, "margin": 0.1}, {"share": 0.2, "margin": 0.1}),
        ({"pooling_decay": 0.5}, {"decay": 0.5}),
        ({"preset": "paper"}, {"decay": 0.9}),
    ):
        loss = HeatmapLossSettings(low=1.0, high=25.0, **constants)
        heat = heatmap_loss(maps, data.masks, loss).total
        method = isnet(**{"variant": "selective", "heatmap_weight": 0.5, "layers": "none", **given})
        total = method.losses(net, data, 0).total
        assert total.item() == pytest.approx((0.5 * ce + 0.5 * heat).item(), rel=1e-4)


def test_automatic_maps_follow_the_classes() -> None:
    made = [
        ISNet(ISNetSettings(variant="auto"), Context(classes=classes, exclusive=exclusive))
        for classes, exclusive in ((2, True), (3, True), (10, True), (2, False), (None, True))
    ]
    targets = ["selective", "stochastic", "stochastic", "stochastic", "stochastic"]
    assert [method.rule.target for method in made] == targets
    fixed = ISNet(ISNetSettings(variant="dual"), Context(classes=2))
    assert fixed.rule.family == "dual"


def test_the_history_shows_the_weight_of_the_epoch() -> None:
    method = isnet(heatmap_weight={0: 0.25, 2: 0.5})
    assert [method.figures(epoch) for epoch in (1, 2)] == [
        {"heatmap_weight": 0.25},
        {"heatmap_weight": 0.5},
    ]


def test_steps_between_have_the_classification_loss_alone() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    method = isnet(heatmap_weight=0.5, every_steps=3)
    ce = nn.functional.cross_entropy(net(data.images), data.labels).item()
    method.begin_epoch(0, torch.Generator())
    steps = [method.losses(net, data, 0) for _ in range(6)]
    assert ["heatmap" in s.parts for s in steps] == [True, False, False, True, False, False]
    assert steps[1].total.item() == pytest.approx(0.5 * ce, rel=1e-5)
    method.begin_epoch(1, torch.Generator())
    assert "heatmap" in method.losses(net, data, 1).parts  # each epoch starts anew
    with torch.no_grad():  # validation always looks
        assert all("heatmap" in method.losses(net, data, 1).parts for _ in range(3))


def test_maps_of_a_part_of_the_batch() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    method = isnet(preset="paper", heatmap_weight=0.5, batch_share=0.5)
    losses = method.losses(net, data, 0)
    assert losses.logits.shape == (6, 3)
    assert torch.allclose(losses.logits, net(data.images), atol=1e-5)
    maps = relevance(net, data.images[:3], "selective", zb=(0.0, 1.0)).maps
    heat = heatmap_loss(maps, data.masks[:3], HeatmapLossSettings()).total
    assert losses.parts["heatmap"].item() == pytest.approx(heat.item(), rel=1e-4)
    assert losses.parts["mapped"].item() == pytest.approx(0.5)
    seven = isnet(batch_share=0.8)  # a single image left over joins the maps
    assert seven._mapped(6) == 6
    few = isnet(batch_share=0.05)  # nor are maps made of one image
    assert [few._mapped(B) for B in (1, 2, 3, 16)] == [1, 2, 3, 2]


def test_images_without_mask_train_by_the_classification_alone() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    method = isnet(preset="paper", heatmap_weight=0.5)
    data.masks[2:] = 0
    losses = method.losses(net, data, 0)
    assert losses.parts["mapped"].item() == pytest.approx(2 / 6)
    maps = relevance(net, data.images[:2], "selective", zb=(0.0, 1.0)).maps
    heat = heatmap_loss(maps, data.masks[:2], HeatmapLossSettings()).total
    assert losses.parts["heatmap"].item() == pytest.approx(heat.item(), rel=1e-4)
