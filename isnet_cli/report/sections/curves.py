"""Curves and matrices below the scores: ROC, precision over recall, confusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from isnet_cli.output.curves import PrecisionRecall, Roc, pr_figure, roc_figure
from isnet_cli.output.figures import NAMED, confusion_figure
from isnet_cli.report.blocks import Block, Grid, Picture
from isnet_cli.report.drawings import embed_figure
from isnet_cli.report.results import RunResults, TestKey
from isnet_cli.report.wording import METRICS_FILE, format_score, list_sources, name_tests

PREDICTIONS = "predictions.csv"
Curve = TypeVar("Curve", Roc, PrecisionRecall)
_HEALTHY = {"normal", "healthy", "negative", "control", "no finding", "none", "no", "0"}


def build_curve_blocks(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> list[Block]:
    """Grids of figures, one panel for each test; those without any curve are left out."""
    return [*_draw_rocs(runs, tests), *_draw_prs(runs, tests), *_draw_confusions(runs, tests)]


def _draw_rocs(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> list[Block]:
    pictures = []
    for test, name in zip(tests, name_tests(tests), strict=True):
        curves = _choose_curves(runs, [run.rocs.get(test, ()) for run in runs], _average_roc)
        if curves:
            areas = ", ".join(f"{c.name} {format_score(c.auc)}" for c in curves)
            alt = f"ROC curves on {name}; AUC: {areas}"
            files = list_sources(runs, test, PREDICTIONS, *_name_drawing(runs, "roc.svg"))
            pictures.append(embed_figure(roc_figure(name, curves), alt, sources=files))
    if not pictures:
        return []
    return [Grid(pictures, least=270, title=f"ROC curves{_name_curves(runs)}")]


def _choose_curves(
    runs: Sequence[RunResults],
    found: Sequence[Sequence[Curve]],
    average: Callable[[Sequence[Curve]], Curve],
) -> list[Curve]:
    """One curve a class for one run (of many classes the mean); one curve a run for several.

    Args:
        runs: The runs.
        found: Curves of the classes, for each run.
        average: Macro average of several curves.
    """
    if _is_binary(runs):
        found = [[c for c in own if c.name == _find_positive(runs)] for own in found]
    if len(runs) == 1 and len(found[0]) > NAMED:
        return [replace(average(found[0]), name="mean of classes")]
    if len(runs) == 1:
        return list(found[0])
    return [
        replace(average(own), name=run.name) for run, own in zip(runs, found, strict=True) if own
    ]


def _name_drawing(runs: Sequence[RunResults], name: str) -> list[str]:
    """The same figure as a file of the run: there is one only for a run by itself."""
    return [name] if len(runs) == 1 else []


def _draw_prs(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> list[Block]:
    pictures = []
    for test, name in zip(tests, name_tests(tests), strict=True):
        curves = _choose_curves(runs, [run.prs.get(test, ()) for run in runs], _average_pr)
        if curves:
            areas = ", ".join(f"{c.name} {format_score(c.ap)}" for c in curves)
            alt = f"Precision-recall curves on {name}; average precision: {areas}"
            files = list_sources(runs, test, PREDICTIONS, *_name_drawing(runs, "pr.svg"))
            pictures.append(embed_figure(pr_figure(name, curves), alt, sources=files))
    if not pictures:
        return []
    return [Grid(pictures, least=270, title=f"Precision-recall curves{_name_curves(runs)}")]


def _average_pr(curves: Sequence[PrecisionRecall]) -> PrecisionRecall:
    """Macro average: mean precision of the classes at each recall; its area is the mean area."""
    if len(curves) == 1:
        return curves[0]
    recall = np.unique(np.concatenate([curve.recall for curve in curves]))
    steps = []
    for curve in curves:
        # Precision holds from its recall back to the one before it.
        place = np.searchsorted(np.asarray(curve.recall), recall, side="left")
        steps.append(np.asarray(curve.precision)[np.minimum(place, len(curve.precision) - 1)])
    areas = [curve.ap for curve in curves if curve.ap is not None]
    mean = sum(areas) / len(areas) if areas else None
    return PrecisionRecall("mean", recall.tolist(), np.mean(steps, axis=0).tolist(), mean)


def _average_roc(curves: Sequence[Roc]) -> Roc:
    """Macro average: mean sensitivity of the classes at each specificity; of one, the curve."""
    if len(curves) == 1:
        return curves[0]
    fpr = np.unique(np.concatenate([curve.fpr for curve in curves]))
    tpr = np.mean([np.interp(fpr, curve.fpr, curve.tpr) for curve in curves], axis=0)
    areas = [curve.auc for curve in curves if curve.auc is not None]
    # Vertical steps at 0 would be lost to the interpolation's choice of their upper end.
    return Roc(
        "mean",
        [0.0, *fpr.tolist()],
        [0.0, *tpr.tolist()],
        sum(areas) / len(areas) if areas else None,
    )


def _is_binary(runs: Sequence[RunResults]) -> bool:
    return all(
        len(run.metrics.get("classes", ())) == 2 and run.metrics.get("task") != "multilabel"
        for run in runs
        if run.metrics
    )


def _find_positive(runs: Sequence[RunResults]) -> str:
    """The class whose curve is shown for two classes: the last that does not mean 'healthy'."""
    classes = next((list(run.metrics["classes"]) for run in runs if run.metrics), [""])
    named = [name for name in classes if name.strip().lower() not in _HEALTHY]
    return str((named or classes)[-1])


def _name_curves(runs: Sequence[RunResults]) -> str:
    if _is_binary(runs):
        return f" for the class {_find_positive(runs)}"
    return "" if len(runs) == 1 else ", mean over the classes"


def _draw_confusions(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> list[Block]:
    blocks: list[Block] = []
    for run in runs:
        pictures = []
        for test, title in zip(tests, name_tests(tests), strict=True):
            counts = run.scores(test).get("confusion")
            if isinstance(counts, list) and any(map(any, counts)):
                files = _list_matrix_files(runs, run, test)
                pictures.append(_draw_confusion(title, counts, run.metrics["classes"], files))
            elif isinstance(counts, dict):
                pictures += [
                    _draw_confusion(
                        f"{title}\n{label}",
                        table,
                        ["no", "yes"],
                        _list_matrix_files(runs, run, test),
                    )
                    for label, table in counts.items()
                    if any(map(any, table))
                ]
        if pictures:
            title = "Confusion matrices" + (f" of {run.name}" if len(runs) > 1 else "")
            blocks.append(Grid(pictures, least=240, title=title))
    return blocks


def _list_matrix_files(runs: Sequence[RunResults], run: RunResults, test: TestKey) -> list[str]:
    prefix = f"{run.name}/" if len(runs) > 1 else ""
    where = f"{prefix}{METRICS_FILE}: sets.{'.'.join(test)}.confusion"
    return [where, *(f"{prefix}{file}" for file in run.list_files(test, "confusion.svg"))]


def _draw_confusion(
    title: str, counts: list[list[int]], classes: Sequence[str], files: Sequence[str]
) -> Picture:
    words = f"{len(classes)} classes, more than can be told here; their counts are in the file"
    if len(classes) <= NAMED:
        words = "; ".join(
            f"true {name}: {', '.join(f'{n} as {c}' for n, c in zip(row, classes, strict=True))}"
            for name, row in zip(classes, counts, strict=True)
        )
    alt = f"Confusion matrix, {title.replace(chr(10), ', ')}: {words}"
    return embed_figure(confusion_figure(title, counts, classes), alt, sources=files)
