"""Methods with networks of their own: trained, evaluated, explained, loaded, from YAML alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.heatmap import stage as heatmap
from isnet_cli.inference.model_files import load_model
from isnet_cli.inference.predictor import open_predictor
from isnet_cli.train import stage as train
from isnet_cli.train.network import start_from
from isnet_cli.train.setup import build_net
from isnet_models.registry import find_card
from isnet_models.weights import load_weights, save_weights
from tests.lrp.networks.runs import SETTINGS, network_config, own_segmenter, trained
from tests.support.runs import small_config

MAPS = {"vit": "attention_rollout"}
CPU = torch.device("cpu")


@pytest.mark.parametrize("method", SETTINGS)
def test_trains_evaluates_and_explains(tmp_path: Path, method: str) -> None:
    config = network_config(method, tmp_path, heatmap={"formats": ["npz"], "limit": 1})
    folder = trained(method, tmp_path, config)
    for stage in (evaluate, heatmap):
        assert run_stage(stage, config, folder, RunContext()).status == "done"
    (line,) = read_csv(folder.path / "heatmap" / "index.csv")
    assert line["method"] == MAPS.get(method, "lrp flex")
    card = json.loads((folder.path / "train" / "model.json").read_text())
    assert card["settings"][method].items() >= SETTINGS[method].items()
    assert card["arch"] == ("small" if method == "segment_then_classify" else method)
    metrics = json.loads((folder.path / "evaluate" / "metrics.json").read_text())
    outside = metrics["sets"]["test"]["standard"]["relevance_outside"]
    assert "why" not in outside  # LRP is defined for each of them
    again = [load_model(folder.path, CPU).net.state_dict() for _ in range(2)]
    assert all(torch.equal(v, again[1][k]) for k, v in again[0].items())
    assert metrics["model"]["method"] == method


def test_the_run_s_segmenter_is_in_the_model_unchanged(tmp_path: Path) -> None:
    path = own_segmenter(tmp_path / "segmenter")
    folder = trained("segment_then_classify", tmp_path)
    model = load_model(folder.path, CPU)
    kept = {
        name.removeprefix("segmenter."): value
        for name, value in model.net.state_dict().items()
        if name.startswith("segmenter.")
    }
    given = load_weights(path)
    assert kept.keys() == given.keys()
    assert all(torch.equal(kept[name], value) for name, value in given.items())
    said = model.card["segmenter"]
    assert (said["name"], said["sha256"]) == ("own", find_card(str(path)).sha256)
    assert str(path) not in json.dumps(model.card)
    path.unlink()  # the model file is whole without it
    load_model(folder.path, CPU)


def test_weights_to_start_from_do_not_bring_their_segmenter(tmp_path: Path) -> None:
    config = network_config("segment_then_classify", tmp_path)
    net, other = (build_net(config, 2) for _ in range(2))
    for p in (*other.segmenter.parameters(), *other.classifier.parameters()):
        p.data += 1
    save_weights(other.state_dict(), tmp_path / "start.safetensors")
    start = config.model.model_copy(update={"weights": str(tmp_path / "start.safetensors")})
    start_from(net, config.model_copy(update={"model": start}))
    ours, before, theirs = (n.state_dict() for n in (net, build_net(config, 2), other))
    for name, value in ours.items():
        expected = before if name.startswith("segmenter.") else theirs
        assert torch.equal(value, expected[name]), name


def test_another_segmenter_is_another_training(tmp_path: Path) -> None:
    folder = trained("segment_then_classify", tmp_path)
    other = small_config(train={"method": "segment_then_classify", "epochs": 1})
    first = network_config("segment_then_classify", tmp_path)
    first = first.model_copy(update={"train": other.train})
    assert train.fingerprint(first, folder) != train.fingerprint(other, folder)


def test_a_missing_segmenter_is_told_before_any_work(tmp_path: Path) -> None:
    section = {"method": "segment_then_classify"}
    config = small_config(train=section, masks={"model": str(tmp_path / "no.safetensors")})
    with pytest.raises(IsnetError, match=r"masks\.model: .*card not found") as caught:
        train.preflight(config)
    assert caught.value.kind == "weights"


@pytest.mark.parametrize(
    ("method", "size", "said"),
    [
        ("vit", [32, 48], "train.method vit: patches of 8 px .* 32 x 48 px"),
        ("multitask_unet", [32, 32], "train.method multitask_unet: .*depth 9 needs images of 256"),
    ],
)
def test_images_of_a_wrong_size_are_refused_before_any_work(
    tmp_path: Path, method: str, size: list[int], said: str
) -> None:
    settings = {"depth": 9} if method == "multitask_unet" else {}
    config = network_config(method, tmp_path, settings, model={"arch": "small", "input": size})
    with pytest.raises(IsnetError, match=said) as caught:
        train.preflight(config)
    assert caught.value.kind == "config"
    train.preflight(network_config(method, tmp_path))


def test_a_card_without_settings_stands_for_the_defaults(tmp_path: Path) -> None:
    """Models of before settings were kept."""
    folder = trained("ag_sononet", tmp_path, network_config("ag_sononet", tmp_path))
    path = folder.path / "train" / "model.json"
    card = json.loads(path.read_text())
    del card["settings"]
    path.write_text(json.dumps(card))
    with pytest.raises(IsnetError, match="cannot be loaded"):  # 4, and it was 16
        load_model(folder.path, CPU)
    card["settings"] = {"ag_sononet": {"feature_scale": "wide"}}
    path.write_text(json.dumps(card))
    with pytest.raises(IsnetError, match="feature_scale"):
        load_model(folder.path, CPU)


def test_prediction_needs_no_masks(tmp_path: Path) -> None:
    """The segmenter runs inside: what the run's masks say is of no consequence."""
    config = network_config("segment_then_classify", tmp_path)
    folder = trained("segment_then_classify", tmp_path, config)
    found = open_predictor(config, None, folder)
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    net = found.model.net
    with torch.no_grad():
        logits = net.classifier(images * net.lungs(images))
    np.testing.assert_allclose(found.predict(images).logits, logits, atol=1e-5)
