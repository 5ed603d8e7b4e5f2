"""Curves and matrices below the scores: ROC, precision over recall, confusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isnet_cli.output.curves import PrecisionRecall, pr_figure
from isnet_cli.output.figures import Roc, confusion_figure, roc_figure
from isnet_cli.output.plotting import data_uri, svg_text
from isnet_cli.report.document import Block, Grid, Picture
from isnet_cli.report.facts import METRICS, RunFacts, figure_of, names_of_tests, origins

Test = tuple[str, str]
PREDICTIONS = "predictions.csv"
_HEALTHY = {"normal", "healthy", "negative", "control", "no finding", "none", "no", "0"}


def curve_blocks(runs: Sequence[RunFacts], tests: Sequence[Test]) -> list[Block]:
    """Grids of figures, one panel for each test; those without any curve are left out."""
    return [*_rocs(runs, tests), *_prs(runs, tests), *_confusions(runs, tests)]


def _rocs(runs: Sequence[RunFacts], tests: Sequence[Test]) -> list[Block]:
    pictures = []
    for test, name in zip(tests, names_of_tests(tests), strict=True):
        curves = _curves(runs, test)
        if curves:
            text = svg_text(roc_figure(name, curves))
            areas = ", ".join(f"{c.name} {figure_of(c.auc)}" for c in curves)
            alt = f"ROC curves on {name}; AUC: {areas}"
            files = origins(runs, test, PREDICTIONS, *_drawing(runs, "roc.svg"))
            pictures.append(Picture(_uri(text), alt, sources=files))
    if not pictures:
        return []
    return [Grid(pictures, least=270, title=f"ROC curves{_whose(runs)}")]


def _curves(runs: Sequence[RunFacts], test: Test) -> list[Roc]:
    """One curve a class for one run; one curve a run, of the class in question, for several."""
    if len(runs) == 1:
        found = list(runs[0].rocs.get(test, ()))
        return [c for c in found if c.name == _positive(runs)] if _binary(runs) else found
    found = []
    for run in runs:
        own = list(run.rocs.get(test, ()))
        if own:
            chosen = [c for c in own if c.name == _positive(runs)] if _binary(runs) else own
            curve = _mean(chosen)
            found.append(Roc(run.name, curve.fpr, curve.tpr, curve.auc))
    return found


def _drawing(runs: Sequence[RunFacts], name: str) -> list[str]:
    """The same figure as a file of the run: there is one only for a run by itself."""
    return [name] if len(runs) == 1 else []


def _prs(runs: Sequence[RunFacts], tests: Sequence[Test]) -> list[Block]:
    pictures = []
    for test, name in zip(tests, names_of_tests(tests), strict=True):
        curves = _pr_curves(runs, test)
        if curves:
            areas = ", ".join(f"{c.name} {figure_of(c.ap)}" for c in curves)
            alt = f"Precision-recall curves on {name}; average precision: {areas}"
            files = origins(runs, test, PREDICTIONS, *_drawing(runs, "pr.svg"))
            text = svg_text(pr_figure(name, curves))
            pictures.append(Picture(_uri(text), alt, sources=files))
    if not pictures:
        return []
    return [Grid(pictures, least=270, title=f"Precision-recall curves{_whose(runs)}")]


def _pr_curves(runs: Sequence[RunFacts], test: Test) -> list[PrecisionRecall]:
    """As `_curves`."""
    if len(runs) == 1:
        found = list(runs[0].prs.get(test, ()))
        return [c for c in found if c.name == _positive(runs)] if _binary(runs) else found
    found = []
    for run in runs:
        own = list(run.prs.get(test, ()))
        chosen = [c for c in own if c.name == _positive(runs)] if _binary(runs) else own
        if chosen:
            curve = _mean_pr(chosen)
            found.append(PrecisionRecall(run.name, curve.recall, curve.precision, curve.ap))
    return found


def _mean_pr(curves: Sequence[PrecisionRecall]) -> PrecisionRecall:
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


def _mean(curves: Sequence[Roc]) -> Roc:
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


def _binary(runs: Sequence[RunFacts]) -> bool:
    return all(
        len(run.metrics.get("classes", ())) == 2 and run.metrics.get("task") != "multilabel"
        for run in runs
        if run.metrics
    )


def _positive(runs: Sequence[RunFacts]) -> str:
    """The class whose curve is drawn for two classes: the last that does not mean 'healthy'."""
    classes = next((list(run.metrics["classes"]) for run in runs if run.metrics), [""])
    named = [name for name in classes if name.strip().lower() not in _HEALTHY]
    return str((named or classes)[-1])


def _whose(runs: Sequence[RunFacts]) -> str:
    if _binary(runs):
        return f" for the class {_positive(runs)}"
    return "" if len(runs) == 1 else ", mean over the classes"


def _confusions(runs: Sequence[RunFacts], tests: Sequence[Test]) -> list[Block]:
    blocks: list[Block] = []
    for run in runs:
        pictures = []
        for test, title in zip(tests, names_of_tests(tests), strict=True):
            counts = run.scores(test).get("confusion")
            if isinstance(counts, list) and any(map(any, counts)):
                files = _matrix_files(runs, run, test)
                pictures.append(_confusion(title, counts, run.metrics["classes"], files))
            elif isinstance(counts, dict):
                pictures += [
                    _confusion(
                        f"{title}\n{label}", table, ["no", "yes"], _matrix_files(runs, run, test)
                    )
                    for label, table in counts.items()
                    if any(map(any, table))
                ]
        if pictures:
            title = "Confusion matrices" + (f" of {run.name}" if len(runs) > 1 else "")
            blocks.append(Grid(pictures, least=240, title=title))
    return blocks


def _matrix_files(runs: Sequence[RunFacts], run: RunFacts, test: Test) -> list[str]:
    prefix = f"{run.name}/" if len(runs) > 1 else ""
    where = f"{prefix}{METRICS}: sets.{'.'.join(test)}.confusion"
    return [where, *(f"{prefix}{file}" for file in run.made_from(test, "confusion.svg"))]


def _confusion(
    title: str, counts: list[list[int]], classes: Sequence[str], files: Sequence[str]
) -> Picture:
    words = "; ".join(
        f"true {name}: {', '.join(f'{n} as {c}' for n, c in zip(row, classes, strict=True))}"
        for name, row in zip(classes, counts, strict=True)
    )
    text = svg_text(confusion_figure(title, counts, classes))
    alt = f"Confusion matrix, {title.replace(chr(10), ', ')}: {words}"
    return Picture(_uri(text), alt, sources=files)


def _uri(svg: str) -> str:
    return data_uri(svg.encode(), "image/svg+xml")
