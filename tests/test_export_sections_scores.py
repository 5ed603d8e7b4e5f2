"""Scores: numbers in their cells, reasons for empty ones, drawings that say the same."""

from isnet_cli.export.document import Fold, Notice, Table
from isnet_cli.export.sections.scores import scores_section
from section_factory import biased, only, run, scored


def test_every_test_and_run_has_a_line() -> None:
    runs = [biased("one", [0.8, 0.7, 0.6]), biased("two", [0.5, 0.4, 0.3])]
    section = scores_section(runs)
    (table,) = only(section, Table)
    assert [row[:3] for row in table.rows] == [
        ("test", version, name)
        for version in ("biased", "standard", "deceiving")
        for name in ("one", "two")
    ]
    assert table.rows[0][3:5] == ("20", "0.900")
    assert table.rows[0][table.columns.index("F1")] == "0.800"
    assert table.rows[5][table.columns.index("AUC")] == "0.300"
    assert sum(span for _, span in table.groups) == len(table.columns) == len(table.rows[0])
    (fold,) = only(section, Fold)
    assert len(fold.table.rows) == 12


def test_balanced_accuracy_has_a_column_only_where_it_is_not_the_recall() -> None:
    plain = run(sets={"test": {"standard": scored(0.8, 0.9)}})
    labels = run(sets={"test": {"standard": scored(0.8, 0.9)}})
    labels.metrics["task"] = "multilabel"
    assert "balanced acc." not in only(scores_section([plain]), Table)[0].columns
    assert "balanced acc." in only(scores_section([labels]), Table)[0].columns


def test_empty_cells_have_their_reason() -> None:
    found = scored(0.8, None)
    found["macro"]["why"] = {"auc": "one class only", "ap": "one class only"}
    section = scores_section([run("one", {"test": {"standard": found}})])
    (table,) = only(section, Table)
    assert table.rows[0][table.columns.index("AUC")] == "n/a"
    assert table.notes == ["test, one: AUC, avg. precision: one class only."]


def test_a_run_without_evaluation_is_named() -> None:
    section = scores_section([run("one", missing={"evaluate": "isnet evaluate CONFIG"})])
    assert only(section, Notice)[0].text.endswith("one: isnet evaluate CONFIG")
    assert only(section, Table) == []
