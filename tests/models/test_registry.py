"""Cards of the shipped networks: whole, honest about licences, readable without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isnet_models import registry
from isnet_models.registry import (
    CARDS,
    WeightsError,
    explain_substitute,
    find_card,
    find_shipped,
    names,
    read_card,
)
from isnet_models.weights import load_weights


@pytest.mark.parametrize("name", names())
def test_each_shipped_card_is_whole_and_its_weights_are_its_own(name: str) -> None:
    card = find_card(name)
    assert card.weights.parent == CARDS
    assert card.weights.stat().st_size <= 8_000_000
    load_weights(card.weights, card.sha256)
    for field in ("licence_reason", "data", "training", "figures", "limits", "held_out", "input"):
        assert card.content[field], field
    assert card.content["training"]["command"]


def test_the_lung_unet_carries_the_licence_of_its_masks() -> None:
    assert "lung-unet" in names()
    assert find_card("lung-unet").licence == "CC-BY-NC-SA-4.0"


def test_the_open_lung_unet_has_seen_no_mask_of_a_restricted_licence() -> None:
    card = find_card("lung-unet-open")
    assert card.licence == "CC-BY-4.0"
    images = card.content["training"]["images"]
    assert images["train"]["shenzhen"] == images["validation"]["shenzhen"] == 0
    assert all(source["licence"] for source in card.content["data"])
    teacher = card.content["training"]["settings"]["data"]["teacher"]
    assert teacher["name"] == "lung-unet-teacher"
    assert teacher["sha256"] != find_card("lung-unet").sha256
    assert card.content["training"]["settings"]["model"]["weights_sha256"] == teacher["sha256"]


def test_the_open_lung_unet_takes_the_place_of_one_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_shipped("lung-unet") == "lung-unet"
    assert explain_substitute("lung-unet") == ""
    shutil.copytree(CARDS, tmp_path / "cards")
    for path in (tmp_path / "cards").glob("lung-unet.*"):
        path.unlink()
    monkeypatch.setattr(registry, "CARDS", tmp_path / "cards")
    assert find_card("lung-unet").name == "lung-unet-open"
    assert explain_substitute("lung-unet") == (
        "lung-unet is not part of this installation: lung-unet-open is used"
    )
    assert find_shipped("lung-net") == "lung-net"
    with pytest.raises(WeightsError, match="no such network; shipped are lung-unet-open"):
        find_card("lung-net")
    (tmp_path / "cards/lung-unet-open.json").unlink()
    with pytest.raises(WeightsError, match="'lung-unet': no such network; shipped are none"):
        find_card("lung-unet")


def test_unknown_names_and_bad_cards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'lung-net': no such network; shipped are .*lung-unet"):
        find_card("lung-net")
    with pytest.raises(WeightsError, match="card not found beside the weights"):
        find_card(str(tmp_path / "own.safetensors"))
    card = tmp_path / "own.json"
    card.write_text("{")
    with pytest.raises(WeightsError, match="not a JSON card"):
        read_card(card)
    card.write_text(json.dumps({"name": "own"}))
    with pytest.raises(WeightsError, match="card lacks version, task"):
        read_card(card)


def test_a_card_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    content = {**find_card("lung-unet").content, "file": "../../elsewhere/w.safetensors"}
    card = tmp_path / "own.json"
    card.write_text(json.dumps(content))
    assert read_card(card).weights == tmp_path / "w.safetensors"


def test_the_registry_itself_needs_nothing_heavy() -> None:
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("registry", sys.argv[1])
sys.modules["registry"] = registry = importlib.util.module_from_spec(spec)
spec.loader.exec_module(registry)
assert registry.find_card("lung-unet").sha256
sys.exit(", ".join({"torch", "numpy", "isnet_cli"} & set(sys.modules)) or 0)
"""
    command = [sys.executable, "-c", code, str(CARDS.parent / "registry.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
