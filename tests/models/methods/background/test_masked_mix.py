"""Whole images, bare lungs, other backgrounds; and the second pass that holds answers together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from isnet_models.backbones import build_backbone
from isnet_models.backgrounds import filled
from isnet_models.divergence import measure_disagreement
from isnet_models.methods.background.masked_mix import MaskedMix
from isnet_models.methods.settings import MaskedMixSettings
from isnet_models.methods.standard import Standard
from tests.models.methods.factory import batch


def mix(seed: int = 0, **settings: object) -> MaskedMix:
    method = MaskedMix(MaskedMixSettings(**settings), None, Standard())
    method.begin_epoch(0, torch.Generator().manual_seed(seed))
    return method


def test_shares_of_whole_bare_and_replaced_images() -> None:
    data, method = batch(), mix(removed=0.5, replaced=0.2)
    bare = filled(data.images, data.masks, "black")
    counts = torch.zeros(3)
    for _ in range(200):
        changed, which = method.mixed(data)
        for i, image in enumerate(changed.images):
            whole, removed = torch.equal(image, data.images[i]), torch.equal(image, bare[i])
            assert bool(which[i]) == (not whole)
            counts[0 if whole else 1 if removed else 2] += 1
    assert (counts / counts.sum()).tolist() == pytest.approx([0.3, 0.5, 0.2], abs=0.04)


def test_the_loss_is_the_inner_one_and_the_weighted_distance() -> None:
    data, net = batch(), build_backbone("small", 3).eval()
    losses = mix(consistency_weight=0.7).losses(net, data, 0)
    changed, which = mix(consistency_weight=0.7).mixed(data)
    seen, whole = net(changed.images), net(data.images)
    apart = [
        measure_disagreement(whole[i : i + 1], seen[i : i + 1], several=False) for i in range(6)
    ]
    held = sum(a.item() for a, w in zip(apart, which, strict=True) if w) / int(which.sum())
    inner = nn.functional.cross_entropy(seen, data.labels).item()
    assert losses.total.item() == pytest.approx(inner + 0.7 * held, rel=1e-5)
    assert losses.parts["consistency"].item() == pytest.approx(held, rel=1e-5)


@pytest.mark.parametrize(("consistency", "passes"), [(0.0, 1), (1.0, 2)])
def test_the_distance_costs_a_pass(consistency: float, passes: int) -> None:
    net, count = build_backbone("small", 3).eval(), []
    net.register_forward_hook(lambda *_: count.append(1))
    mix(consistency_weight=consistency).losses(net, batch(), 0)
    assert len(count) == passes
    count.clear()
    with torch.no_grad():
        found = mix(consistency_weight=consistency).losses(net, batch(), 0)
    assert len(count) == 1
    assert found.total.item() == pytest.approx(
        nn.functional.cross_entropy(net(batch().images), batch().labels).item()
    )


def test_several_labels_and_images_without_masks() -> None:
    data, net = batch(), build_backbone("small", 3).eval()
    labels = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)).round()
    losses = mix(removed=1.0, replaced=0.0).losses(net, replace(data, labels=labels), 0)
    assert losses.parts["consistency"] > 0
    none = replace(data, masks=torch.zeros_like(data.masks))
    losses = mix(removed=1.0, replaced=0.0).losses(net, none, 0)
    assert losses.parts["consistency"] == 0
    assert losses.parts["mixed"] == 0


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="expected at most 1"):
        MaskedMixSettings(removed=0.6, replaced=0.6)
    with pytest.raises(ValueError, match="needs a method"):
        MaskedMix()
