"""The method's settings, first weights from a file, networks that do not suit their method."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.training_loop import CHECKPOINT
from isnet_cli.errors import IsnetError
from isnet_cli.train import stage as train
from isnet_cli.train.setup import (
    build_method,
    build_net,
    check_network,
    prepare_network,
)
from isnet_lrp.losses.energy import EnergyLossSettings
from isnet_models.backbones import build_backbone
from isnet_models.methods.base import EVERY_MAP
from isnet_models.methods.guided.isnet import ISNet
from isnet_models.methods.standard import Standard
from tests.support.runs import make_run, small_config

CPU = torch.device("cpu")


@pytest.mark.slow
def test_a_method_that_needs_a_feature_map_refuses_a_transformer(tmp_path: Path) -> None:
    """Before any training; methods without that need take the network."""
    folder = make_run(tmp_path / "run")
    model = {"arch": "vit_b_16", "input": [224, 224]}
    config = small_config(model=model, train={"method": "gain"})
    with pytest.raises(IsnetError, match=r"vit_b_16: gain needs.*feature map.*tokens") as caught:
        run_stage(train, config, folder, RunContext())
    assert caught.value.kind == "config"
    assert "train.method: standard" in (caught.value.fix or "")
    assert not (folder.path / "train" / CHECKPOINT).exists()


def test_ham_says_which_networks_it_takes(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    config = small_config(model={"arch": "squeezenet1_1"}, train={"method": "ham"})
    with pytest.raises(IsnetError, match="small, resnet") as caught:
        run_stage(train, config, folder, RunContext())
    assert caught.value.kind == "config"


@pytest.mark.parametrize("method", ["isnet", "gain", "standard"])
def test_what_suits_stays_as_it_is(method: str) -> None:
    config = small_config(train={"method": method})
    net = build_net(config, 2).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    check_network(net, config, CPU)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_images_of_a_size_that_is_not_taken_are_refused() -> None:
    config = small_config(model={"arch": "inception_v3", "input": [64, 64]})
    with pytest.raises(IsnetError, match="inception_v3 does not take") as caught:
        check_network(build_backbone("inception_v3", 2), config, CPU)
    assert "model.input" in (caught.value.fix or "")


def test_a_method_that_cannot_prepare_says_so_before_training() -> None:
    config = small_config(
        model={"arch": "small", "input": [64, 64]},
        train={"method": "ham", "settings": {"ham": {"normal_class": 5}}},
    )
    with pytest.raises(IsnetError, match=r"train\.method: ") as caught:
        prepare_network(build_method(config, None, None), build_net(config, 2))
    assert caught.value.kind == "config"


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
