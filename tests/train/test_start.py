"""What a training starts from: pretrained files, their normalisation, what the card keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from isnet_cli.config.load import load
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.inference.model_files import load_model
from isnet_cli.train import stage as train
from isnet_cli.train.start import find_normalisation, load_start
from isnet_models.backbones import build_backbone
from isnet_models.normalise import NAMED, Normalisation
from isnet_models.weights import save_weights
from tests.support.runs import make_run, small_config


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_weights(build_backbone("resnet18", 2).state_dict(), path)
    config = small_config(model={"pretrained": str(path)})
    with pytest.raises(IsnetError, match=r"model\.pretrained: .*nearest names") as caught:
        load_start(build_backbone("small", 2), config)
    assert caught.value.kind == "weights"
    assert "model.arch" in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"arch": "resnet18"}, None),
        ({"arch": "resnet18", "pretrained": "w.pth"}, NAMED["imagenet"]),
        ({"arch": "timm/tf_efficientnet_lite0", "pretrained": "w.pth"}, NAMED["half"]),
        ({"arch": "small", "pretrained": "w.pth"}, None),
        ({"arch": "resnet18", "pretrained": "w.pth", "normalisation": "none"}, None),
        ({"normalisation": "txv"}, NAMED["txv"]),
        ({"normalisation": [0.25, 0.5]}, Normalisation((0.25,), (0.5,))),
        (
            {"normalisation": [[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]], "channels": 3},
            Normalisation((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)),
        ),
    ],
)
def test_which_normalisation_is_meant(
    model: dict[str, Any], expected: Normalisation | None
) -> None:
    found = find_normalisation(small_config(model=model))
    channels = model.get("channels", 1)
    assert (found and found.of_channels(channels)) == (expected and expected.of_channels(channels))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("normalisation: imagnet", "normalisation"),
        ("normalisation: [0.5, 0.0]", "expected > 0"),
        ("normalisation: [[0.5, 0.5], [1.0, 1.0]]", "one or three of each"),
        ("normalisation: [0.5]", "normalisation"),
    ],
)
def test_impossible_normalisations_name_their_key(model: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"model:\n  {model}\n")
    with pytest.raises(IsnetError, match=r"a\.yaml:2: model\.normalisation") as caught:
        load(path)
    assert said in str(caught.value)


def test_a_network_of_the_method_s_own_takes_images_as_they_are() -> None:
    config = small_config(model={"normalisation": "half"}, train={"method": "ag_sononet"})
    with pytest.raises(IsnetError, match="takes images as they are"):
        find_normalisation(config)


def test_a_run_goes_on_from_another_and_its_card_says_so(tmp_path: Path) -> None:
    """Normalisation is found in the first run's card and kept in the second's."""
    folder = make_run(tmp_path / "run")
    section = {"method": "standard", "epochs": 1}
    first = small_config(model={"normalisation": [0.4, 0.25]}, train=section)
    run_stage(train, first, folder, RunContext())
    given = load_model(folder.path, torch.device("cpu"))
    assert given.card["normalisation"] == [[0.4], [0.25]]
    assert given.card["pretrained"] is None
    (folder.path / "train").rename(tmp_path / "first")
    weights = tmp_path / "first" / "model.safetensors"
    second = small_config(model={"pretrained": str(weights)}, train=section)
    before = train.fingerprint(second, folder)
    run_stage(train, second, folder, RunContext())
    found = load_model(folder.path, torch.device("cpu"))
    assert found.card["normalisation"] == [[0.4], [0.25]]
    said = found.card["pretrained"]
    assert (said["file"], said["sha256"], said["head"]) == (
        "model.safetensors", given.card["sha256"], "taken",
    )  # fmt: skip
    moved = tmp_path / "moved"
    (tmp_path / "first").rename(moved)
    elsewhere = small_config(model={"pretrained": str(moved / "model.safetensors")}, train=section)
    assert train.fingerprint(elsewhere, folder) == before
    with pytest.raises(IsnetError, match="no such file"):
        train.fingerprint(second, folder)
