"""The page of skip reasons lists exactly the reasons that the code gives."""

from __future__ import annotations

import re

from isnet_cli.images.read import REASONS
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "skipped.md").read_text(encoding="utf-8")
OF_INGEST = {"changed", "crashed", "duplicate", "duplicate_conflict"}
OF_MASKS = {"mask_missing", "mask_unreadable", "mask_values", "mask_size"}


def documented() -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))


def test_every_reason_is_documented_and_no_other() -> None:
    assert documented() == set(REASONS) | OF_INGEST | OF_MASKS


def test_the_lists_above_are_what_the_code_says() -> None:
    raised = set()
    for path in (ROOT / "isnet_cli").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        raised |= set(re.findall(r"UnreadableImage\(\s*\"(\w+)\"", text))
        if path.name == "workers.py":
            raised |= set(re.findall(r"return \(?\s*\"(\w+)\",", text))
        if "ingest" in path.parts:
            raised |= set(re.findall(r"skip_file\([\w\[\].]+, \"(\w+)\"", text))
            raised |= set(re.findall(r"\"(duplicate\w*):", text))
    assert raised >= OF_INGEST | OF_MASKS
    assert raised <= documented()


def test_reasons_are_told_in_the_same_words() -> None:
    for code, words in REASONS.items():
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{code}` |")]
        assert words in line
