"""The method has the settings of the configuration."""

from __future__ import annotations

from pathlib import Path

from isnet_cli.train.setup import build_method
from isnet_lrp.losses.energy import EnergyLossSettings
from isnet_models.methods.base import EVERY_MAP
from isnet_models.methods.guided.isnet import ISNet
from isnet_models.methods.standard import Standard
from tests.support.runs import small_config


def test_method_takes_its_settings(tmp_path: Path) -> None:
    own = {
        "heatmap_weight": {0: 0.1, 3: 0.8}, "pooling_decay": 0.5, "saturation": 2.0,
        "foreground_weight": 3.0,
    }  # fmt: skip
    config = small_config(train={"settings": {"isnet": own}})
    method = build_method(config, {"input": (2.0, 9.0), "layer1": (1.0, 3.0)}, None)
    assert isinstance(method, ISNet)
    assert [method.heatmap_weight(e) for e in (0, 2, 3, 9)] == [0.1, 0.1, 0.8, 0.8]
    s = method.map_loss["input"]
    assert (s.low, s.high, s.decay, s.saturation, s.foreground_weight) == (2.0, 9.0, 0.5, 2.0, 3.0)
    assert method.map_loss["layer1"].high == 3.0
    one = build_method(config, {EVERY_MAP: (2.0, 9.0)}, None)
    assert isinstance(one, ISNet)
    assert one.map_loss == s
    energy = small_config(train={"settings": {"isnet": {"loss": "energy", "layers": ["layer1"]}}})
    method = build_method(energy, {}, None)
    assert isinstance(method, ISNet)
    assert method.map_loss == EnergyLossSettings()
    assert method.settings.layers == ("layer1",)
    assert isinstance(
        build_method(small_config(train={"method": "standard"}), None, None), Standard
    )
