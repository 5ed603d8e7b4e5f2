"""What was changed by hand in a sealed file is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.core.records.read import Record
from isnet_cli.core.records.sealed import SEAL, read_sealed, write_sealed
from isnet_cli.errors import IsnetError


class Figures(Record):
    seconds: dict[str, float]


CONTENT: dict[str, Any] = {"seconds": {"a": 0.1 + 0.2, "b": 1.0}, "more": [1, None, "é\u202e"]}


def read(path: Path) -> dict[str, Any]:
    return read_sealed(path, Figures, what="figures", fix="again")


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, {**CONTENT, "pair": (1, 2)})
    assert read(path) == {**CONTENT, "pair": [1, 2]}
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))))  # other spaces
    assert read(path)["seconds"] == CONTENT["seconds"]


@pytest.mark.parametrize("old", ['"a"', "1.0", "null", '"b"', SEAL])
def test_a_change_is_noticed(tmp_path: Path, old: str) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, CONTENT)
    text = path.read_text(encoding="utf-8")
    assert old in text
    new = {"1.0": "2.0", "null": "0", SEAL: "x"}.get(old, '"c"')
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(IsnetError, match="changed since it was written") as caught:
        read(path)
    assert caught.value.fix == "again"
