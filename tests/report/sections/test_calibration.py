"""Calibration: Brier score, error beside that of chance, curves; and why there is none."""

from isnet_cli.report.blocks import Fold, Grid, Notice, Table
from isnet_cli.report.results import RunResults
from isnet_cli.report.sections.calibration import build_calibration_section
from tests.report.sections.factory import letters, only, run, scored

BIN = {"n": 9, "predicted": 0.75, "observed": 0.6, "observed_low": 0.4, "observed_high": 0.8}
FOUND = {
    "brier": 0.21, "ece": 0.15,
    "ece_if_calibrated": {"mean": 0.05, "high": 0.11, "p": 0.0005},
    "curve": [BIN],
    "per_class": {
        "a": {"brier": 0.2, "ece": 0.1, "curve": [BIN]},
        "b": {"brier": None, "ece": None, "curve": [], "why": "no image whose label 'b' is known"},
    },
}  # fmt: skip


def calibrated(name: str, **changes: object) -> RunResults:
    found = scored(0.8, 0.8) | {"calibration": {**FOUND, **changes}}
    cell = {"value": 0.21, "low": 0.1, "high": 0.3, "method": "bootstrap"}
    found["intervals"] = {"calibration": {"brier": cell}}
    return run(name, {"test": {"standard": found}})


def test_the_error_stands_beside_that_of_a_calibrated_model() -> None:
    section = build_calibration_section([calibrated("one")])
    (table,) = only(section, Table)
    row = ("test", "0.210 [0.100, 0.300]", "0.150", "0.050", "0.110", "<0.001")
    assert table.rows == [row]
    assert sum(span for _, span in table.groups) == len(table.columns) == len(row)
    (fold,) = only(section, Fold)
    assert fold.table.rows == [("test", "a", "0.200", "0.100"), ("test", "b", "n/a", "n/a")]
    assert fold.table.notes == ["test, one: no image whose label 'b' is known."]


def test_curves_of_the_predicted_class_and_of_labels() -> None:
    (grid,) = only(build_calibration_section([calibrated("one")]), Grid)
    assert "predicted class" in letters(grid.pictures[0])
    assert "0.60 at 0.75" in grid.pictures[0].alt
    (both,) = only(build_calibration_section([calibrated("one"), calibrated("two")]), Grid)
    assert {"one", "two"} <= set(letters(both.pictures[0]).split())
    several = calibrated("one")
    del several.metrics["sets"]["test"]["standard"]["calibration"]["curve"]
    (labels,) = only(build_calibration_section([several]), Grid)
    assert "a: 0.60 at 0.75" in labels.pictures[0].alt
    assert "b:" not in labels.pictures[0].alt


def test_no_calibration_gives_its_reason() -> None:
    (notice,) = only(
        build_calibration_section([run(missing={"evaluate": "isnet evaluate"})]), Notice
    )
    assert notice.text.endswith("isnet evaluate")
    plain = run(sets={"test": {"standard": scored(0.8, 0.8)}})
    assert "no test has labelled images" in only(build_calibration_section([plain]), Notice)[0].text
