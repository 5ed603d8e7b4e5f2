"""Methods with networks of their own: what their models hold, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.inference.model_files import load_model, save_model
from isnet_cli.inference.predictor import open_predictor
from isnet_cli.train import stage as train
from isnet_cli.train.model_card import make_card
from isnet_cli.train.setup import build_net
from isnet_cli.train.start import load_start
from isnet_models.registry import find_card
from isnet_models.weights import load_weights, save_weights
from tests.support.method_runs import network_config, trained
from tests.support.runs import small_config

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunFolder]:
    """A file of a lung U-Net, and a run trained with it inside."""
    place = tmp_path_factory.mktemp("segmented")
    folder = trained("segment_then_classify", place)
    return place / "segmenter" / "own.safetensors", folder


def test_the_run_s_segmenter_is_in_the_model_unchanged(segmented: tuple[Path, RunFolder]) -> None:
    path, folder = segmented
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
    path.rename(path.with_suffix(".away"))  # the model file is whole without it
    load_model(folder.path, CPU)
    path.with_suffix(".away").rename(path)


def test_weights_to_start_from_do_not_bring_their_segmenter(tmp_path: Path) -> None:
    config = network_config("segment_then_classify", tmp_path)
    net, other = (build_net(config, 2) for _ in range(2))
    for p in (*other.segmenter.parameters(), *other.classifier.parameters()):
        p.data += 1
    save_weights(other.state_dict(), tmp_path / "start.safetensors")
    start = config.model.model_copy(update={"pretrained": str(tmp_path / "start.safetensors")})
    load_start(net, config.model_copy(update={"model": start}))
    ours, before, theirs = (n.state_dict() for n in (net, build_net(config, 2), other))
    for name, value in ours.items():
        expected = before if name.startswith("segmenter.") else theirs
        assert torch.equal(value, expected[name]), name


def test_another_segmenter_is_another_training(
    segmented: tuple[Path, RunFolder], tmp_path: Path
) -> None:
    _, folder = segmented
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
        ("vit", [32, 48], "model.input: vit does not take .*patches of 8 px .* 32 x 48 px"),
        (
            "multitask_unet",
            [32, 32],
            "model.input: multitask_unet does .*depth 9 needs images of 256",
        ),
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
    config = network_config("ag_sononet", tmp_path)
    net = build_net(config, 2)
    card = make_card(config, ["normal", "sick"], net, None, 1, 1)
    save_model(tmp_path, net, card)
    load_model(tmp_path, CPU)
    del card["settings"]
    save_model(tmp_path, net, card)
    with pytest.raises(IsnetError, match="cannot be loaded"):  # 4, and it was 16
        load_model(tmp_path, CPU)
    save_model(tmp_path, net, {**card, "settings": {"ag_sononet": {"feature_scale": "wide"}}})
    with pytest.raises(IsnetError, match="feature_scale"):
        load_model(tmp_path, CPU)


def test_prediction_needs_no_masks(segmented: tuple[Path, RunFolder], tmp_path: Path) -> None:
    """The segmenter runs inside: what the run's masks say is of no consequence."""
    config = network_config("segment_then_classify", tmp_path)
    found = open_predictor(config, None, segmented[1])
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    net = found.model.net
    with torch.no_grad():
        logits = net.classifier(images * net.lungs(images))
    np.testing.assert_allclose(found.predict(images).logits, logits, atol=1e-5)
