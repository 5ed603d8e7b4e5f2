"""Scores: numbers in their cells, reasons for empty ones, drawings that say the same."""

from isnet_cli.export.document import Fold, Grid, Notice, Table
from isnet_cli.export.figures import Roc
from isnet_cli.export.sections.scores import _mean, scores_section
from section_factory import biased, letters, only, run, scored


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


def test_one_run_has_the_curve_of_the_second_class_of_two() -> None:
    section = scores_section([run(sets={"test": {"standard": scored(0.8, 0.8)}})])
    roc, confusion = only(section, Grid)
    assert roc.title == "ROC curves for the class b"
    assert "b, AUC 0.800" in letters(roc.pictures[0])
    assert "a, AUC" not in letters(roc.pictures[0])
    assert "true a: 7 as a, 3 as b" in confusion.pictures[0].alt


def test_the_curve_is_of_the_disease_whatever_the_order_of_classes() -> None:
    healthy_last = run(sets={"test": {"standard": scored(0.8, 0.8)}})
    healthy_last.metrics["classes"] = ["a", "Normal"]
    roc = only(scores_section([healthy_last]), Grid)[0]
    assert roc.title == "ROC curves for the class a"
    assert "a, AUC 0.700" in letters(roc.pictures[0])


def test_several_runs_share_a_panel() -> None:
    runs = [biased("one", [0.8, 0.7, 0.6]), biased("two", [0.5, 0.4, 0.3])]
    roc, first, second = only(scores_section(runs), Grid)
    assert len(roc.pictures) == 3
    assert "one, AUC" in letters(roc.pictures[0])
    assert "two, AUC" in letters(roc.pictures[0])
    assert first.title == "Confusion matrices of one"
    assert len(second.pictures) == 3


def test_mean_of_curves_keeps_steps_and_ends() -> None:
    perfect, chance = Roc("a", [0, 0, 1], [0, 1, 1], 1.0), Roc("b", [0, 1], [0, 1], 0.5)
    mean = _mean([perfect, chance])
    assert mean.auc == 0.75
    assert (mean.fpr[0], mean.tpr[0]) == (0, 0)
    assert (mean.fpr[-1], mean.tpr[-1]) == (1, 1)
    assert 0.5 in mean.tpr  # the step of the perfect one, halved
    assert all(a <= b for a, b in zip(mean.tpr, mean.tpr[1:], strict=False))


def test_multilabel_has_a_matrix_for_each_label() -> None:
    found = scored(0.8, 0.8)
    found["confusion"] = {"a": [[5, 1], [2, 3]], "b": [[0, 0], [0, 0]]}
    section = scores_section([run(sets={"test": {"standard": found}})])
    (grid,) = [g for g in only(section, Grid) if "Confusion" in g.title]
    assert len(grid.pictures) == 1  # b has no film
    assert "true no: 5 as no, 1 as yes" in grid.pictures[0].alt


def test_a_run_without_evaluation_is_named() -> None:
    section = scores_section([run("one", missing={"evaluate": "isnet evaluate CONFIG"})])
    assert only(section, Notice)[0].text.endswith("one: isnet evaluate CONFIG")
    assert only(section, Table) == []
