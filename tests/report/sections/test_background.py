"""Background reliance: variants, flips, gap, reasons."""

from typing import Any

from isnet_cli.report.blocks import Fold, Grid, Notice, Table
from isnet_cli.report.results import RunResults
from isnet_cli.report.sections.background import VARIANTS, build_background_section
from tests.report.sections.factory import letters, only, run, scored

GAP, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


def cell(value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "method": "delong", **more}


def reliant(name: str = "one") -> RunResults:
    share = {"n": 12, "count": 3, "rate": 0.25, "low": 0.1, "high": 0.5, "method": "beta"}
    none = {"n": 0, "count": 0, "rate": None, "low": None, "high": None, "why": "no image of b"}
    variants = {
        variant: {
            "macro": {"f1": x / 10, "auc": x / 10},
            "intervals": {"macro": {"f1": cell(x / 10), "auc": cell(x / 10)}},
        }
        for x, variant in enumerate(VARIANTS, 4)
    }
    lacking = {"value": None, "low": None, "high": None, "why": "no partner"}
    found = scored(0.8, 0.8) | {
        "background": {
            "n": 20,
            "left_out": {"no label": 2},
            "variants": variants,
            "background_auc": cell(0.6),
            "flips": {**share, "per_class": {"a": share, "b": none}},
            "gap": {"n": 12, "f1": cell(-0.2, p=0.03), "auc": lacking},
        }
    }
    return run(name, {"test": {"standard": found}})


def test_flips_gap_and_variants_with_their_intervals() -> None:
    section = build_background_section([reliant()])
    summary, f1, auc = only(section, Table)
    assert summary.rows == [
        (
            "test", "20", f"25.0{GAP}% [10.0, 50.0]", "0.600 [0.500, 0.700]",
            f"{MINUS}0.200 [{MINUS}0.300, {MINUS}0.100]", "0.030", "n/a", "n/a",
        )
    ]  # fmt: skip
    assert "flips: posterior of the share" in summary.notes[0]
    assert "test, one: no gap in macro AUC: no partner." in summary.notes
    assert "test, one: left out 2 images (no label)." in summary.notes
    assert f1.rows[0][1] == auc.rows[0][1] == "0.400 [0.300, 0.500]"
    assert f1.columns[1:] == tuple(VARIANTS.values())
    (fold,) = only(section, Fold)
    assert fold.table.rows[0][1:] == ("a", "3 of 12", f"25.0{GAP}% [10.0, 50.0]")
    assert fold.table.rows[1][1:] == ("b", "0 of 0", "n/a")
    assert fold.table.notes == ["test, one: no image of b."]


def test_the_drawing_says_the_same() -> None:
    (grid,) = only(build_background_section([reliant("one"), reliant("two")]), Grid)
    flips, gap, removed = grid.pictures
    assert "two: test +0.250 [+0.100, +0.500]" in flips.alt
    assert "gap in macro F1" in letters(gap)
    assert "+0.600" in removed.alt


def test_no_images_gives_the_reason() -> None:
    found = scored(0.8, 0.8) | {"background": {"n": 0, "why": "evaluate.background is false"}}
    section = build_background_section([run(sets={"test": {"standard": found}})])
    assert "evaluate.background is false" in only(section, Notice)[0].text
    (notice,) = only(build_background_section([run(missing={"evaluate": "not run."})]), Notice)
    assert notice.text == "No background reliance to show: not run."
