"""Shift and relevance: versions side by side, ranges, and what cannot be shown."""

from isnet_cli.report.blocks import Fold, Grid, Notice, Table
from isnet_cli.report.sections.shift import build_reliance_section, build_shift_section
from tests.report.sections.factory import biased, letters, only, run, said, scored


def test_versions_are_columns_with_their_range() -> None:
    runs = [biased("isnet", [0.8, 0.82, 0.79]), biased("std", [1.0, 0.7, 0.0])]
    section = build_shift_section(runs)
    (table,) = only(section, Table)
    heads = ("biased", "standard", "deceiving", "range")
    assert table.columns == ("test set", "run", *heads, *heads)
    assert table.rows[0][:6] == ("test", "isnet", "0.800", "0.820", "0.790", "0.030")
    assert table.rows[1][2:6] == ("1.000", "0.700", "0.000", "1.000")
    assert sum(span for _, span in table.groups) == len(table.columns)
    assert "deceiving version each image has the mark of another class" in said(section)
    (grid,) = only(section, Grid)
    assert [("macro F1" in letters(p), "macro AUC" in letters(p)) for p in grid.pictures] == [
        (True, False),
        (False, True),
    ]
    assert "std: test · biased 1.000" in grid.pictures[0].alt


def test_a_range_over_missing_values_is_not_made_up() -> None:
    found = {v: scored(x, x) for v, x in (("biased", 0.9), ("standard", 0.8), ("deceiving", None))}
    (table,) = only(build_shift_section([run("one", {"test": found})]), Table)
    assert table.rows[0][2:6] == ("0.900", "0.800", "n/a", "n/a")


def test_sets_are_columns_when_there_is_one_version() -> None:
    sets = {"inside": {"standard": scored(0.9, 0.9)}, "outside": {"standard": scored(0.6, 0.7)}}
    section = build_shift_section([run("one", sets)])
    (table,) = only(section, Table)
    assert table.columns == ("run", "inside", "outside", "inside", "outside")
    assert table.rows == [("one", "0.900", "0.600", "0.900", "0.700")]
    assert "marks" not in said(section)


def test_one_test_is_no_shift() -> None:
    (notice,) = only(build_shift_section([run(sets={"t": {"standard": scored(0.9, 0.9)}})]), Notice)
    assert "Only one test" in notice.text
    (notice,) = only(build_shift_section([run()]), Notice)
    assert "No test" in notice.text


def test_relevance_by_test_run_and_class() -> None:
    runs = [biased("isnet", [0.8] * 3, 0.1), biased("std", [0.8] * 3, 0.7)]
    section = build_reliance_section(runs, 0.75)
    (table,) = only(section, Table)
    gap = "\N{NO-BREAK SPACE}%"
    assert table.rows[1] == ("test", "biased", "std", "20", f"70.0{gap}", f"80.0{gap}")
    assert f"75.0{gap}" in said(section)
    (fold,) = only(section, Fold)
    assert len(fold.table.rows) == 12
    picture = only(section, Grid)[0].pictures[0]
    assert "uniform map" in letters(picture)
    assert "uniform map" not in letters(
        only(build_reliance_section(runs, None), Grid)[0].pictures[0]
    )


def test_no_relevance_gives_its_reason() -> None:
    found = scored(0.9, 0.9)
    found["relevance_outside"] = {"n": 0, "mean": None, "p95": None, "why": "no lung mask"}
    (notice,) = only(build_reliance_section([run(sets={"t": {"standard": found}})], None), Notice)
    assert "no lung mask" in notice.text
    assert only(build_reliance_section([run()], None), Notice)[0].tone == "empty"
