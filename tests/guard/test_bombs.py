"""Small files that claim to be huge: within a gigabyte and some seconds, and said why."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

spec = importlib.util.spec_from_file_location("bombs", ROOT / "benchmarks" / "bombs.py")
assert spec is not None
assert spec.loader is not None
bombs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bombs)
QUICK = "dicom deflated, wrong length"  # the one that is tried at every change


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    "title",
    [title if title == QUICK else pytest.param(title, marks=pytest.mark.slow)
     for title in bombs.BOMBS],
)  # fmt: skip
def test_a_bomb_costs_little_and_becomes_a_row_or_an_error(title: str) -> None:
    line = bombs.measure(*bombs.BOMBS[title], ROOT)
    found = re.match(r" *[\d.]+ MB +([\d.]+) GB +([\d.]+) s +(\w+)  (.*)", line)
    assert found, line
    assert float(found[1]) < 1.0, line
    assert float(found[2]) < 60.0, line  # a busy machine, and the start of Python
    assert found[3] in {"4", "7"}, line
    assert not re.search(r"crashed|Error", found[4]), line
