"""Deep supervision: layers combined by rank, masks at each size, either loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_lrp.losses.deep_supervision import deep_supervision_loss, map_loss
from isnet_lrp.losses.energy import EnergyLossSettings, energy_loss
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss
from isnet_lrp.losses.map_masks import MaskValueError
from tests.lrp.oracles.losses import slow_energy_loss, slow_heatmap_loss, weighted_rank_mean

SIZES = {"input": (1, 8, 8), "layer1": (3, 4, 4), "layer4": (5, 1, 1)}
SETTINGS = {
    "input": HeatmapLossSettings(low=5.0, high=9.0, foreground_weight=3.0),
    "layer1": HeatmapLossSettings(low=50.0, high=90.0, decay=0.5),
    "layer4": HeatmapLossSettings(low=0.5, high=0.9, foreground="l2"),
}


def example(seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    layers = {
        name: torch.randn(2, 3, *size, generator=g, dtype=torch.float64)
        for name, size in SIZES.items()
    }
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, 0, 2:5, 1:7], masks[1, 0, 7, 7] = 1, 1
    return layers, masks


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), decay=st.sampled_from([0.0, 0.4, 0.8, 1.0]))
def test_equals_the_slow_transcription(seed: int, decay: float) -> None:
    layers, masks = example(seed)
    slow = {n: slow_heatmap_loss(maps, masks, SETTINGS[n]) for n, maps in layers.items()}
    result = deep_supervision_loss(layers, masks, SETTINGS, decay)
    assert list(result.per_layer) == list(layers)
    for name, value in result.per_layer.items():
        assert value.item() == pytest.approx(slow[name][0], rel=1e-9)
        assert result.layers[name].background.item() == pytest.approx(slow[name][1], rel=1e-9)
    expected = weighted_rank_mean([v[0] for v in slow.values()], decay)
    assert result.total.item() == pytest.approx(expected, rel=1e-9)
    assert result.counted.item() == 2
    assert result.per_image.mean().item() == pytest.approx(expected, rel=1e-9)


def test_parts_have_the_weights_of_their_layers() -> None:
    layers, masks = example(3)
    s = HeatmapLossSettings(background_weight=0.7, foreground_weight=1.9, low=5.0, high=9.0)
    result = deep_supervision_loss(layers, masks, s, 0.8)
    total = 0.7 * result.background + 1.9 * result.foreground
    assert total.item() == pytest.approx(result.total.item(), rel=1e-12)


def test_a_layer_without_weight_adds_nothing_even_where_its_parts_are_infinite() -> None:
    layers, masks = example(3)
    layers = {name: maps.float() for name, maps in layers.items() if name != "layer4"}
    layers["layer1"] = layers["layer1"] * 1e30
    settings = {
        "input": HeatmapLossSettings(low=1e3, high=1e3, foreground_weight=100.0),
        "layer1": HeatmapLossSettings(foreground_weight=0.0, foreground="l2"),
    }
    result = deep_supervision_loss(layers, masks, settings, 0.0)
    assert result.layers["layer1"].foreground.item() == float("inf")
    assert result.total.item() == result.per_layer["input"].item()
    assert result.foreground.item() == result.layers["input"].foreground.item()


SLOW = [pytest.param(decay, marks=pytest.mark.slow) for decay in (0.0, 1.0)]


@pytest.mark.parametrize("decay", [0.8, *SLOW])
def test_gradient_equals_finite_differences(decay: float) -> None:
    layers, masks = example(7)
    layers = {name: maps[:, :1] for name, maps in layers.items()}
    names = list(layers)

    def total(*maps: torch.Tensor) -> torch.Tensor:
        return deep_supervision_loss(
            dict(zip(names, maps, strict=True)), masks, SETTINGS, decay
        ).total

    assert torch.autograd.gradcheck(total, [maps.requires_grad_() for maps in layers.values()])


def test_one_layer_is_its_own_loss() -> None:
    layers, masks = example(1)
    alone = deep_supervision_loss({"input": layers["input"]}, masks, SETTINGS, 0.8)
    assert torch.equal(alone.total, heatmap_loss(layers["input"], masks, SETTINGS["input"]).total)


def test_degenerate_images_are_left_out_at_every_layer() -> None:
    layers, masks = example(2)
    masks[0] = 1
    result = deep_supervision_loss(layers, masks, SETTINGS, 0.8)
    second = {name: maps[1:] for name, maps in layers.items()}
    alone = deep_supervision_loss(second, masks[1:], SETTINGS, 0.8)
    assert result.total.item() == pytest.approx(alone.total.item(), rel=1e-12)
    assert result.counted.item() == 1
    nobody = deep_supervision_loss(layers, torch.zeros_like(masks), SETTINGS, 0.8)
    assert (nobody.total.item(), nobody.counted.item()) == (0, 0)


def test_the_energy_loss_takes_its_place() -> None:
    layers, masks = example(4)
    result = deep_supervision_loss(layers, masks, EnergyLossSettings(), 0.8)
    slow = [slow_energy_loss(maps, masks, False) for maps in layers.values()]
    assert result.total.item() == pytest.approx(weighted_rank_mean(slow, 0.8), rel=1e-9)
    assert result.foreground.item() == 0


def test_settings_choose_the_loss() -> None:
    layers, masks = example(5)
    H, s = layers["input"], EnergyLossSettings(positive_only=True)
    assert torch.equal(map_loss(H, masks, s).total, energy_loss(H, masks, s).total)
    plain = HeatmapLossSettings()
    assert torch.equal(map_loss(H, masks, plain).total, heatmap_loss(H, masks, plain).total)


def test_what_is_missing_or_wrong_is_named() -> None:
    layers, masks = example(6)
    with pytest.raises(ValueError, match="at least one map"):
        deep_supervision_loss({}, masks, SETTINGS, 0.8)
    with pytest.raises(ValueError, match="layer layer1: no settings; there are some for input"):
        deep_supervision_loss(layers, masks, {"input": SETTINGS["input"]}, 0.8)
    with pytest.raises(ValueError, match="must lie between 0"):
        deep_supervision_loss(layers, masks, SETTINGS, 1.2)
    with pytest.raises(ValueError, match=r"layer layer1: maps \[2, 3\]"):
        deep_supervision_loss({**layers, "layer1": torch.rand(2, 3)}, masks, SETTINGS, 0.8)
    with pytest.raises(MaskValueError, match="layer input: masks must hold 0 and 1"):
        deep_supervision_loss(layers, masks * 255, SETTINGS, 0.8)
