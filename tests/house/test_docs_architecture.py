"""The architecture page has one line for each folder of the three packages."""

from __future__ import annotations

import re

import pytest

from tests.house.rules import PACKAGES
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_has_its_line_and_no_other(package: str) -> None:
    root = PACKAGES[package] / package
    (section,) = re.findall(rf"^`(?:models/)?{package}`:\n\n((?:[* ].*\n)+)", PAGE, re.MULTILINE)
    listed = re.findall(r"^\* `(\w+)`: ", section, re.MULTILINE)
    folders = {path.name for path in root.iterdir() if any(path.glob("*.[pj]*"))}
    assert sorted(listed) == sorted(folders - {"__pycache__"})


def test_the_page_is_a_page_and_a_half() -> None:
    assert len(PAGE.splitlines()) <= 120
