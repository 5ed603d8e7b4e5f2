"""Deltas: differences with intervals and p, in words and as a figure."""

from typing import Any

from isnet_cli.report.blocks import Fold, Grid, Table
from isnet_cli.report.results import RunResults
from isnet_cli.report.sections.deltas import build_delta_blocks
from tests.report.sections.factory import biased, letters

MINUS = "\N{MINUS SIGN}"
DROP = {"value": -0.3, "low": -0.5, "high": -0.1, "sd": 0.1, "p": 0.004, "method": "bootstrap"}
NONE = {"value": None, "low": None, "high": None, "sd": None, "why": "one side has no value"}


def pair(start: list[str], end: list[str], auc: dict[str, Any], *, paired: bool) -> dict[str, Any]:
    differences = {
        "accuracy": DROP,
        "macro": {"f1": DROP, "auc": auc},
        "per_class": {"value": {"f1": NONE}},  # a class may be called like a cell's key
    }
    return {"from": start, "to": end, "paired": paired, "differences": differences}


def dropping(name: str) -> RunResults:
    found = biased(name, [0.8, 0.7, 0.6])
    found.metrics["shift"] = [
        pair(["test", "biased"], ["test", "deceiving"], DROP | {"method": "delong"}, paired=True),
        pair(["test", "standard"], ["other", "standard"], NONE, paired=False),
    ]
    return found


def test_each_pair_has_its_line() -> None:
    table, grid, fold = build_delta_blocks([dropping("one")])
    assert isinstance(table, Table)
    text = f"{MINUS}0.300 [{MINUS}0.500, {MINUS}0.100]"
    assert table.rows == [
        ("test: biased → deceiving", "same", text, "0.004", text, "0.004"),
        ("test → other", "other", text, "0.004", "n/a", "n/a"),
    ]
    assert sum(span for _, span in table.groups) == len(table.columns)
    assert any("macro AUC (test → other, one): one side has no value" in n for n in table.notes)
    assert isinstance(grid, Grid)
    assert "test: biased" in letters(grid.pictures[1])
    assert "test → other" not in grid.pictures[1].alt
    assert text in grid.pictures[1].alt
    assert isinstance(fold, Fold)
    assert [row[1:4] for row in fold.table.rows[:4]] == [
        ("whole set", "accuracy", text),
        ("mean", "F1", text),
        ("mean", "AUC", text),
        ("value", "F1", "n/a"),
    ]


def test_runs_stand_below_each_other() -> None:
    table, *_ = build_delta_blocks([dropping("one"), dropping("two")])
    assert isinstance(table, Table)
    assert [row[1] for row in table.rows] == ["one", "two", "one", "two"]
    assert table.columns[:3] == ("from → to", "run", "images")


def test_without_pairs_there_is_nothing() -> None:
    assert build_delta_blocks([biased("one", [0.8, 0.7, 0.6])]) == []
