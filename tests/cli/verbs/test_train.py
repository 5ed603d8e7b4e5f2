"""`isnet train --list-methods`: every method with its needs and settings, as text and as JSON."""

from __future__ import annotations

import json
import re

import pytest

from isnet_cli.cli.app import main
from isnet_models.methods import registry


def test_every_method_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list-methods"]) == 0
    text = capsys.readouterr().out
    for entry in registry.ENTRIES:
        assert f"  {entry.name} " in text
        assert entry.summary in text


def test_settings_are_shown_as_yaml_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list-methods"]) == 0
    text = capsys.readouterr().out
    assert 'settings: arch: "vit_b_16", patch: "auto"' in text
    assert max(len(line) for line in text.splitlines() if line.startswith("    ")) <= 100
    assert not re.search(r":$", text, re.MULTILINE)
    assert "\N{NO-BREAK SPACE}" not in text
    assert not re.search(r": (None|True|False|\()", text)


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list-methods", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["methods"]}
    assert tuple(found) == registry.names()
    assert found["isnet"]["needs"][0] == registry.NEEDS["masks"]
    assert found["standard"]["settings"] == {}
