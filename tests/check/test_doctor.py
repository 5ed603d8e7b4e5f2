"""Facts about the machine, good and bad."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from isnet_cli.check.doctor import examine_machine
from isnet_models import registry


def test_a_sound_installation() -> None:
    found = examine_machine()
    assert found.problems == []
    assert found.cores >= 1
    assert found.disk > 0
    assert found.devices
    assert found.codecs["JPEG, JPEG lossless, JPEG-LS, JPEG 2000"] == "SimpleITK"
    assert [card["state"] for card in found.weights] == ["intact"] * len(registry.names())
    json.dumps(found.document())


def test_nothing_personal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(examine_machine().document())
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text


def test_lines_say_the_same() -> None:
    titles = [title for title, _ in examine_machine().lines()]
    assert titles[:4] == ["isnet", "python", "packages", "machine"]
    assert {"device", "codec", "weights", "network"} <= set(titles)


def test_little_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    assert examine_machine().problems == ["only 1.0 GiB of disk free here, expected 2.0 GiB"]


def test_damaged_and_missing_weights_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = tmp_path / "cards"
    shutil.copytree(registry.CARDS, cards)
    monkeypatch.setattr(registry, "CARDS", cards)
    weights = registry.find_card("lung-unet").weights
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "weights of 'lung-unet': damaged; install isnet again" in examine_machine().problems
    weights.unlink()
    assert "weights of 'lung-unet': file missing; install isnet again" in examine_machine().problems
    for path in cards.glob("*.json"):
        path.unlink()
    assert "no lung U-Net is shipped with this installation" in examine_machine().problems
