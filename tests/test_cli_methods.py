"""`isnet train --list-methods`: every method with its needs and settings, as text and as JSON."""

from __future__ import annotations

import json

import pytest

from isnet_cli.cli.app import main
from isnet_models.methods import registry


def test_every_method_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list-methods"]) == 0
    text = capsys.readouterr().out
    for entry in registry.ENTRIES:
        assert f"  {entry.name} " in text
        assert entry.summary in text


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list-methods", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["methods"]}
    assert tuple(found) == registry.names()
    assert found["isnet"]["needs"][0] == registry.NEEDS["masks"]
    assert found["standard"]["settings"] == {}
