"""Scores: numbers in their cells, reasons for empty ones, drawings that say the same."""

from isnet_cli.report.blocks import Fold, Notice, Table
from isnet_cli.report.sections.scores import build_scores_section
from tests.report.sections.factory import biased, only, run, scored


def test_every_test_and_run_has_a_line() -> None:
    runs = [biased("one", [0.8, 0.7, 0.6]), biased("two", [0.5, 0.4, 0.3])]
    section = build_scores_section(runs)
    table, parts = only(section, Table)
    assert [row[:3] for row in table.rows] == [
        ("test", version, name)
        for version in ("biased", "standard", "deceiving")
        for name in ("one", "two")
    ]
    assert table.rows[0][3:5] == ("20", "0.900")
    assert table.rows[0][table.columns.index("F1")] == "0.800"
    assert table.rows[5][table.columns.index("AUC")] == "0.300"
    assert parts.columns[3:] == ("precision", "recall", "specificity")
    for one in (table, parts):
        assert sum(span for _, span in one.groups) == len(one.columns) == len(one.rows[0])
    (fold,) = only(section, Fold)
    assert len(fold.table.rows) == 12


def test_intervals_stand_beside_the_figures_and_reasons_below() -> None:
    found = scored(0.8, 0.9)
    cell = {"value": 0.8, "low": 0.71, "high": 0.866, "sd": 0.1, "method": "dirichlet"}
    found["intervals"] = {
        "accuracy": {**cell, "value": 0.9},
        "macro": {"f1": cell, "auc": {"value": 0.9, "low": None, "high": None, "why": "one image"}},
        "per_class": {"a": {"f1": {**cell, "method": "bootstrap"}}},
    }
    found["patients"] = 17
    section = build_scores_section([run("one", {"test": {"standard": found}})])
    table, _ = only(section, Table)
    assert table.columns[:3] == ("test set", "images", "patients")
    assert table.rows[0][1:6] == (
        "20",
        "17",
        "0.900 [0.710, 0.866]",
        "0.800 [0.710, 0.866]",
        "0.900",
    )
    assert "accuracy, F1: posterior of the confusion matrix" in table.notes[0]
    assert table.notes[1] == "No interval for AUC (test, one): one image."
    assert table.sources == ["evaluate/metrics.json: sets.<set>.<version>.intervals"]
    (fold,) = only(section, Fold)
    assert fold.table.rows[0][fold.table.columns.index("F1")] == "0.800 [0.710, 0.866]"
    assert "F1: bootstrap by patient" in fold.table.notes[0]


def test_thresholds_of_labels_with_their_reason() -> None:
    card = {"threshold_rule": {"a": {"f1": 0.75}, "b": {"f1": None, "why": "no image with it"}}}
    one = run("one", {"test": {"standard": scored(0.8, 0.9)}}, card=card)
    one.metrics["thresholds"] = [0.25, 0.5]
    fold = only(build_scores_section([one]), Fold)[1]
    assert fold.table.rows == [("one", "a", "0.250", "0.750"), ("one", "b", "0.500", "n/a")]
    assert fold.table.notes == ["one, b: no image with it."]


def test_balanced_accuracy_has_a_column_only_where_it_is_not_the_recall() -> None:
    plain = run(sets={"test": {"standard": scored(0.8, 0.9)}})
    labels = run(sets={"test": {"standard": scored(0.8, 0.9)}})
    labels.metrics["task"] = "multilabel"
    assert "balanced acc." not in only(build_scores_section([plain]), Table)[0].columns
    assert "balanced acc." in only(build_scores_section([labels]), Table)[0].columns


def test_empty_cells_have_their_reason() -> None:
    found = scored(0.8, None)
    found["macro"]["why"] = {"auc": "one class only", "ap": "one class only"}
    section = build_scores_section([run("one", {"test": {"standard": found}})])
    table, parts = only(section, Table)
    assert table.rows[0][table.columns.index("AUC")] == "n/a"
    assert parts.notes == []
    assert table.notes == ["test, one: AUC, avg. precision: one class only."]


def test_a_run_without_evaluation_is_named() -> None:
    section = build_scores_section([run("one", missing={"evaluate": "isnet evaluate CONFIG"})])
    assert only(section, Notice)[0].text.endswith("one: isnet evaluate CONFIG")
    assert only(section, Table) == []
