"""docs/methods.md: its table and sections are the registry, its settings those of the code."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from isnet_models.methods import registry
from isnet_models.methods.registry import ENTRIES, Entry
from tests.architecture import ROOT

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
        told |= dict(zip(keys, defaults.split(", "), strict=True))
    default = kind()
    assert told == {f.name: str(getattr(default, f.name)).lower() for f in fields(kind)}
