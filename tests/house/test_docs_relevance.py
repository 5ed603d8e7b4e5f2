"""docs/relevance.md: its example prints what the page says; its tables name what exists."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from isnet_lrp import FAMILIES, TARGETS
from tests.house.rules import ROOT

PAGE = (ROOT / "docs/relevance.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("default")
def test_the_example_prints_what_the_page_says() -> None:
    found = re.search(r"<!-- example -->\n```python\n(.*?)```\s+prints\s+```\n(.*?)```", PAGE, re.S)
    assert found is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(found[1], "docs/relevance.md", "exec"), {})  # noqa: S102 - our own page
    assert printed.getvalue() == found[2]


def test_families_and_targets_are_all_there_and_no_other() -> None:
    section = PAGE.split("### Families")[1].split("**zB rule**")[0]
    families = [row.replace("(default)", "") for row in re.findall(r"^\| `(.*?)`", section, re.M)]
    assert families[1:] == list(FAMILIES)  # behind the heading
    section = PAGE.split("### What is explained")[1].split("### Beyond")[0]
    assert sorted(re.findall(r'^\| `"(.*?)"`', section, re.M)) == sorted(TARGETS)


def test_the_page_is_short() -> None:
    assert len(PAGE.split()) < 1550
