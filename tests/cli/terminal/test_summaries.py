"""Results in lines and tables."""

from __future__ import annotations

from isnet_cli.cli.terminal.summaries import (
    format_background,
    format_demo,
    format_outcome,
    format_predictions,
    format_scores,
    format_shifts,
)
from isnet_cli.core.pipeline import Outcome


def test_a_stage_in_one_line() -> None:
    summary = {"found": 12, "no_label": 0, "skipped": 0, "share": 0.123456, "sets": {"a": 1}}
    assert (
        format_outcome(Outcome("ingest", "done", summary))
        == "ingest    done       found 12, skipped 0, share 0.1235"
    )
    assert format_outcome(Outcome("masks", "current")) == "masks     up to date"
    assert format_outcome(Outcome("train", "incomplete")) == "train     incomplete"


def test_scores_with_what_is_undefined() -> None:
    summary = {
        "sets": {
            "test": {
                "biased": {"n": 6, "macro_f1": 0.5, "macro_auc": None, "outside": 0.25},
                "standard": {"n": 6, "macro_f1": 1.0, "macro_auc": 1.0},
            }
        }
    }
    assert format_scores(summary) == [
        "set    version  images  macro F1    AUC  outside lungs",
        "test    biased       6     0.500      -          0.250",
        "test  standard       6     1.000  1.000              -",
    ]
    assert format_scores({}) == []


def test_scores_by_background() -> None:
    areas = {"full": 1.0, "lungs_only": 0.5, "lungs_removed": 0.95, "other_class": 0.0}
    found = {"n": 6, "auc": {**areas, "same_class": None}, "flips": 0.875, "gap": None}
    nothing = {"n": 0, "why": "no masks"}
    sets = {
        "test": {"standard": {"background": found}},
        "far": {"standard": {"background": nothing}},
    }
    assert format_background({"sets": sets}) == [
        "AUC by background   version   full  lungs only  no lungs  other class  same class"
        "  flips  gap",
        "test               standard  1.000       0.500     0.950        0.000           -"
        "   88 %    -",
    ]
    del sets["test"]
    assert format_background({"sets": sets}) == ["background reliance: no masks"]
    assert format_background({"sets": {"test": {"standard": {"n": 3}}}}) == []


def test_the_demos_table() -> None:
    document = {
        "report": "x/report.html",
        "macro_f1": {
            "standard": {"biased": 1.0, "deceiving": 0.0},
            "isnet": {"biased": 0.9, "deceiving": None},
        },
    }
    assert format_demo(document) == (
        "macro F1  biased  deceiving\n"
        "standard   1.000      0.000\n"
        "isnet      0.900          -\n\n"
        "report: x/report.html"
    )


def test_scores_with_their_intervals() -> None:
    figures = {"n": 6, "macro_f1": 0.5, "macro_f1_range": [0.4, 0.61], "macro_auc": 0.75}
    summary = {"sets": {"test": {"standard": {**figures, "macro_auc_range": None, "outside": 0.2}}}}
    assert format_scores(summary) == [
        "set    version  images              macro F1    AUC  outside lungs",
        "test  standard       6  0.500 [0.400, 0.610]  0.750          0.200",
    ]


def test_differences_between_tests() -> None:
    fall = {"value": -0.25, "low": -0.3, "high": -0.2}
    empty = {"value": None, "low": None, "high": None}
    pairs = [
        {"from": ["test", "biased"], "to": ["test", "deceiving"], "macro_f1": fall,
         "macro_auc": {**empty, "value": 0.0}},
        {"from": ["test", "standard"], "to": ["far", "standard"], "macro_f1": empty,
         "macro_auc": fall},
    ]  # fmt: skip
    assert format_shifts({"shift": pairs}) == [
        "difference                                macro F1                      AUC",
        "test: biased to deceiving  -0.250 [-0.300, -0.200]                   +0.000",
        "test to far                                      -  -0.250 [-0.300, -0.200]",
    ]
    assert format_shifts({}) == []


def test_predictions_are_counted_with_their_flags() -> None:
    summary = {
        "images": 10, "uncertain": 7, "skipped": 0, "predicted": {"ill": 4, "well": 6},
        "flags": {"mask": 1, "ood": 6, "margin": None}, "expected_ood_share": 0.019,
    }  # fmt: skip
    lines = format_predictions(summary)
    cells = [" ".join(line.split()) for line in lines]
    assert cells[:7] == [
        "predicted images",
        "ill 4",
        "well 6",
        "uncertain 7 of 10",
        "lung mask suspect or missing 1",
        "differs from the training images 6",
        "near another answer not known",
    ]
    assert cells[7] == "(of images like those of training, 1.9 % are flagged)"
    assert cells[8].startswith("most images differ from the training images")
    calm = {**summary, "flags": {"mask": 1, "ood": 5, "margin": 0}, "expected_ood_share": None}
    assert len(format_predictions(calm)) == 7


def test_pointing_has_a_column_where_it_was_measured() -> None:
    plain = {"n": 3, "macro_f1": 0.5, "macro_auc": 0.5, "outside": 0.25}
    found = {"test": {"standard": {**plain, "pointing": 0.75, "pointing_range": [0.5, 0.9]}}}
    lines = format_scores({"sets": {**found, "b": {"standard": plain}}})
    assert lines[0].endswith("map on finding")
    assert lines[1].endswith("0.750 [0.500, 0.900]")
    assert lines[2].rstrip().endswith("-")
    assert "finding" not in format_scores({"sets": {"b": {"standard": plain}}})[0]
