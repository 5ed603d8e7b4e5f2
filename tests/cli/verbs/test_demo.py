"""`isnet demo` hands its options on and prints the comparison; the rest is tested elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isnet_cli.core.run_context import RunContext
from isnet_cli.demo import run as demo
from tests.cli.factory import isnet

FOUND = {
    "report": "out/report.html",
    "macro_f1": {"standard": {"biased": 1.0}, "isnet": {"biased": 0.9}},
    "seconds": 3.0,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int]]:
    found: list[tuple[Path, int]] = []

    def run_demo(output: Path, context: RunContext, *, seed: int = 0) -> dict[str, Any]:
        context.say("drawing images")
        found.append((output, seed))
        return FOUND

    monkeypatch.setattr(demo, "run_demo", run_demo)
    return found


def test_the_table_for_people(calls: list[tuple[Path, int]]) -> None:
    done = isnet("demo", "-o", "out", "--seed", "3")
    assert calls == [(Path("out"), 3)]
    assert done.code == 0
    assert done.err == "drawing images\n"
    assert done.out.splitlines()[0].split() == ["macro", "F1", "biased"]
    assert done.out.rstrip().endswith("report: out/report.html")


def test_the_document_for_scripts(calls: list[tuple[Path, int]]) -> None:
    found = isnet("demo", "--json").document
    assert calls == [(Path("runs/demo"), 0)]
    assert found["macro_f1"] == FOUND["macro_f1"]
    assert found["report"] == "out/report.html"
