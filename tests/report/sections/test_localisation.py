"""Maps against annotated findings on the page: figures, intervals, what is left out."""

from __future__ import annotations

from typing import Any

from isnet_cli.report.blocks import Fold, Grid, Notice, Table
from isnet_cli.report.results import RunResults
from isnet_cli.report.sections.localisation import build_localisation_section
from tests.report.sections.factory import letters, only, run, said, scored

GAP = "\N{NO-BREAK SPACE}"


def figures(value: float | None, **more: Any) -> dict[str, Any]:
    cell = {"value": value, "low": 0.1, "high": 0.9, "method": "bootstrap"}
    ratio = {"value": 2.5, "low": 1.5, "high": 4.0, "method": "bootstrap"}
    return {
        "n": 0 if value is None else 7, "images": 7, "findings": 9, "pointing": cell,
        "chance": 0.25, "inside_share": {**cell, "value": 0.5}, "lungs_share": 0.2,
        "ratio": ratio, "no_map": {}, **more,
    }  # fmt: skip


def annotated(name: str = "one", **more: Any) -> RunResults:
    own = {
        **figures(0.75), "map": "lrp flex of the finding's class minus the other",
        "per_class": {"a": figures(0.75), "b": figures(None)}, "left_out": {"box without area": 3},
        **more,
    }  # fmt: skip
    return run(name, {"test": {"standard": {**scored(0.8, 0.8), "localisation": own}}})


def test_figures_with_chance_and_what_is_left_out() -> None:
    section = build_localisation_section([annotated()])
    assert section is not None
    (table,) = only(section, Table)
    assert table.rows == [
        ("test", "7", f"75.0{GAP}% [10.0, 90.0]", f"25.0{GAP}%", f"50.0{GAP}% [10.0, 90.0]",
         f"20.0{GAP}%", "2.50 [1.50, 4.00]")
    ]  # fmt: skip
    assert any("box without area" in note and "3" in note for note in table.notes)
    assert any("bootstrap by patient" in note for note in table.notes)
    (fold,) = only(section, Fold)
    assert [row[1] for row in fold.table.rows] == ["a"]  # b has none
    assert "minus the other" in said(section)
    (grid,) = only(section, Grid)
    assert "chance" in letters(grid.pictures[0])


def test_runs_without_annotations_have_no_section() -> None:
    plain = run("two", {"test": {"standard": scored(0.5, 0.5)}})
    assert build_localisation_section([plain]) is None
    off = {"n": 0, "why": "evaluate.annotations is none for this set", "left_out": {}}
    none = run("x", {"test": {"standard": {**scored(0.5, 0.5), "localisation": off}}})
    assert build_localisation_section([none]) is None
    both = build_localisation_section([annotated(), plain])
    assert both is not None
    assert len(only(both, Table)[0].rows) == 1


def test_a_run_in_which_nothing_was_measured_says_why() -> None:
    why = {"n": 0, "why": "no image of this set has an annotated finding"}
    lost = run(
        "x",
        {"t": {"standard": {**scored(0.5, 0.5), "localisation": {**why, "left_out": {"y": 1}}}}},
    )
    section = build_localisation_section([lost])
    assert section is not None
    (notice,) = only(section, Notice)
    assert why["why"] in notice.text
