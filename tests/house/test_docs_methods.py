"""docs/methods.md: its table and sections are the registry, its settings those of the code."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from isnet_cli.config.yaml_tree import parse
from isnet_models.methods import registry
from isnet_models.methods.registry import ENTRIES, Entry
from tests.house.rules import ROOT

PAGE = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
HEAD, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)


def test_the_table_names_every_method_with_its_needs_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", HEAD, re.MULTILINE))
    assert rows == {e.name: ", ".join(e.needs) or "nothing" for e in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=registry.names())
def test_every_method_has_a_section_with_its_settings(entry: Entry) -> None:
    (section,) = [text for text in SECTIONS if text.split("\n")[0].strip("` ") == entry.name]
    kind = entry.load().Settings
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*?) \|", section, re.MULTILINE)
    told = {}
    for names, defaults in rows:
        keys = re.findall(r"`(\w+)`", names)
        cell = defaults.replace("`", "")
        each = [cell] if len(keys) == 1 else cell.split(", ")
        told |= {key: parse(f"x: {text}").value["x"] for key, text in zip(keys, each, strict=True)}
    assert told == plain_settings(kind)


def plain_settings(kind: type) -> dict[str, Any]:
    """Defaults as YAML has them."""
    values = {f.name: getattr(kind(), f.name) for f in fields(kind)}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
