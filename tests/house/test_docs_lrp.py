"""Every section of docs/lrp.md that code, tests or pages cite exists."""

from __future__ import annotations

import re

from tests.house.rules import ROOT

FOLDERS = ("isnet_cli", "models", "tests", "benchmarks", "docs")
CITED = re.compile(r"docs/lrp\.md,\s+sections?\s+([\d., ]+(?:(?:and|to) [\d., ]+)*)")


def read_sections() -> set[str]:
    text = (ROOT / "docs" / "lrp.md").read_text(encoding="utf-8")
    return set(re.findall(r"(?m)^##+ (\d+(?:\.\d+)?)\.? ", text))


def test_every_cited_section_exists() -> None:
    sections, cited = read_sections(), 0
    assert {"1", "2.13", "3.1", "4", "4.1"} <= sections
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".py", ".md") or path.name == "test_docs_lrp.py":
                continue
            text = path.read_text(encoding="utf-8")
            assert "LRP" + "_SPEC" not in text, path
            for found in CITED.findall(text):
                for number in re.findall(r"\d+(?:\.\d+)?", found):
                    cited += 1
                    assert number in sections, f"{path}: section {number}"
    assert cited > 40


def test_every_cited_source_is_listed() -> None:
    text = (ROOT / "docs" / "lrp.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"(?m)^(\d+)\. \w", text[text.index("## 7. Sources") :]))
    cited = {
        n for group in re.findall(r"\[(\d+(?:, \d+)*)\](?!\()", text) for n in group.split(", ")
    }
    assert cited - {"0", "1"} <= listed
    assert listed <= cited
