"""Curves and matrices: which classes are drawn, means of several, and what the words say."""

import pytest

from isnet_cli.output.curves import PrecisionRecall, Roc
from isnet_cli.report.blocks import Grid
from isnet_cli.report.sections.curves import _average_pr, _average_roc
from isnet_cli.report.sections.scores import build_scores_section
from tests.report.sections.factory import biased, letters, only, run, scored


def test_one_run_has_the_curve_of_the_second_class_of_two() -> None:
    section = build_scores_section([run(sets={"test": {"standard": scored(0.8, 0.8)}})])
    roc, confusion = only(section, Grid)
    assert roc.title == "ROC curves for the class b"
    assert "b, AUC 0.800" in letters(roc.pictures[0])
    assert "a, AUC" not in letters(roc.pictures[0])
    assert "true a: 7 as a, 3 as b" in confusion.pictures[0].alt


def test_the_curve_is_of_the_disease_whatever_the_order_of_classes() -> None:
    healthy_last = run(sets={"test": {"standard": scored(0.8, 0.8)}})
    healthy_last.metrics["classes"] = ["a", "Normal"]
    roc = only(build_scores_section([healthy_last]), Grid)[0]
    assert roc.title == "ROC curves for the class a"
    assert "a, AUC 0.700" in letters(roc.pictures[0])


def test_several_runs_share_a_panel() -> None:
    runs = [biased("one", [0.8, 0.7, 0.6]), biased("two", [0.5, 0.4, 0.3])]
    roc, first, second = only(build_scores_section(runs), Grid)
    assert len(roc.pictures) == 3
    assert "one, AUC" in letters(roc.pictures[0])
    assert "two, AUC" in letters(roc.pictures[0])
    assert first.title == "Confusion matrices of one"
    assert len(second.pictures) == 3


def test_a_run_without_the_curve_of_the_class_is_left_out() -> None:
    runs = [biased("one", [0.8, 0.7, 0.6]), biased("two", [0.5, 0.4, 0.3])]
    for test, curves in runs[1].rocs.items():
        runs[1].rocs[test] = [curve for curve in curves if curve.name == "a"]  # type: ignore[index]
    roc = only(build_scores_section(runs), Grid)[0]
    assert "one, AUC" in letters(roc.pictures[0])
    assert "two, AUC" not in letters(roc.pictures[0])


def test_mean_of_curves_keeps_steps_and_ends() -> None:
    perfect, chance = Roc("a", [0, 0, 1], [0, 1, 1], 1.0), Roc("b", [0, 1], [0, 1], 0.5)
    mean = _average_roc([perfect, chance])
    assert mean.auc == 0.75
    assert (mean.fpr[0], mean.tpr[0]) == (0, 0)
    assert (mean.fpr[-1], mean.tpr[-1]) == (1, 1)
    assert 0.5 in mean.tpr  # the step of the perfect one, halved
    assert all(a <= b for a, b in zip(mean.tpr, mean.tpr[1:], strict=False))


def test_multilabel_has_a_matrix_for_each_label() -> None:
    found = scored(0.8, 0.8)
    found["confusion"] = {"a": [[5, 1], [2, 3]], "b": [[0, 0], [0, 0]]}
    section = build_scores_section([run(sets={"test": {"standard": found}})])
    (grid,) = [g for g in only(section, Grid) if "Confusion" in g.title]
    assert len(grid.pictures) == 1  # b has no image
    assert "true no: 5 as no, 1 as yes" in grid.pictures[0].alt


def pr(name: str, recall: list[float], precision: list[float], ap: float) -> PrecisionRecall:
    return PrecisionRecall(name, recall, precision, ap)


def test_the_mean_of_precisions_has_the_mean_area() -> None:
    one = pr("a", [0.0, 0.5, 1.0], [1.0, 1.0, 0.5], 0.75)
    two = pr("b", [0.0, 0.25, 1.0], [1.0, 0.8, 0.4], 0.5)
    mean = _average_pr([one, two])
    area = sum(
        (right - left) * height
        for left, right, height in zip(
            mean.recall, mean.recall[1:], mean.precision[1:], strict=False
        )
    )
    assert mean.ap == pytest.approx(0.625)
    assert area == pytest.approx(mean.ap)
    assert mean.precision == pytest.approx([1.0, 0.9, 0.7, 0.45])
    assert _average_pr([one]) is one


def test_precision_recall_stands_beside_the_roc_and_names_its_files() -> None:
    curves = [pr("a", [0, 1], [1, 0.6], 0.6), pr("b", [0, 1], [1, 0.7], 0.7)]
    found = scored(0.8, 0.8) | {"files": ["t/standard/predictions.csv", "t/standard/pr.svg"]}
    one = run("one", {"test": {"standard": found}}, prs={("test", "standard"): curves})
    _, grid, _ = only(build_scores_section([one]), Grid)
    assert grid.title == "Precision-recall curves for the class b"
    (picture,) = grid.pictures
    assert "b, AP 0.700" in letters(picture)
    assert "a, AP" not in letters(picture)
    assert picture.alt.endswith("average precision: b 0.700")
    expected = ["evaluate/t/standard/predictions.csv", "evaluate/t/standard/pr.svg"]
    assert picture.sources == expected
    two = run("two", {"test": {"standard": found}}, prs={("test", "standard"): curves})
    both = only(build_scores_section([one, two]), Grid)[1].pictures[0]
    assert "two, AP 0.700" in letters(both)
    assert both.sources == [f"{name}/{expected[0]}" for name in ("one", "two")]
