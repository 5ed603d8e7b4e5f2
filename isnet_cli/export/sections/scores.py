"""Scores of each run on each test, with confusion matrices and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isnet_cli.export.document import Block, Fold, Grid, Notice, Picture, Section, Table
from isnet_cli.export.facts import (
    RunFacts,
    all_tests,
    cells_of_tests,
    figure_of,
    heads_of_tests,
    names_of_tests,
)
from isnet_cli.export.figures import Roc, confusion_figure, number, roc_figure
from isnet_cli.export.plotting import data_uri, svg_text

RATES = {
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "f1": "F1",
    "auc": "AUC",
    "ap": "avg. precision",
}
Test = tuple[str, str]
_HEALTHY = {"normal", "healthy", "negative", "control", "no finding", "none", "no", "0"}


def scores_section(runs: Sequence[RunFacts]) -> Section:
    """Tables of all scores, then confusion matrices and ROC curves."""
    blocks: list[Block] = [
        Notice(f"No scores to show for {run.name}: {run.missing['evaluate']}", "empty")
        for run in runs
        if not run.metrics and "evaluate" in run.missing
    ]
    tests = all_tests(runs)
    if tests:
        blocks += [_overall(runs, tests), Fold("Scores of each class", _per_class(runs, tests))]
        blocks += _rocs(runs, tests)
        blocks += _confusions(runs, tests)
    files = ("evaluate/metrics.json", "evaluate/<set>/<version>/predictions.csv")
    return Section("scores", "Scores", blocks, files)


def _overall(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Table:
    rows, notes = [], []
    heads = heads_of_tests(tests)
    # For exclusive classes the balanced accuracy is the mean recall, which has its own column.
    exclusive = all(run.metrics.get("task") != "multilabel" for run in runs)
    own = {"accuracy": "accuracy"} | ({} if exclusive else {"balanced_accuracy": "balanced acc."})
    for test, name, cells in zip(tests, names_of_tests(tests), cells_of_tests(tests), strict=True):
        for run in runs:
            found = run.scores(test)
            if not found:
                continue
            values = [figure_of(number(found.get(name))) for name in own]
            values += [figure_of(run.macro(test, rate)) for rate in RATES]
            rows.append((*cells, run.name, str(found.get("n", "n/a")), *values))
            notes += _reasons(f"{name}, {run.name}", found)
    columns = (*heads, "run", "films", *own.values(), *RATES.values())
    return Table(
        columns,
        rows,
        numbers_from=len(heads) + 1,
        notes=list(dict.fromkeys(notes)),
        groups=[("", len(heads) + 2 + len(own)), ("mean over the classes", len(RATES))],
    )


def _reasons(where: str, found: Mapping[str, Any]) -> list[str]:
    why = {**(found.get("macro", {}).get("why") or {}), **(found.get("why") or {})}
    groups: dict[str, list[str]] = {}
    for name, reason in why.items():
        groups.setdefault(reason, []).append(RATES.get(name, name).replace("_", " "))
    return [f"{where}: {', '.join(names)}: {reason}." for reason, names in groups.items()]


def _per_class(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Table:
    rows = []
    heads = heads_of_tests(tests)
    for test, cells in zip(tests, cells_of_tests(tests), strict=True):
        for run in runs:
            for label, entry in run.scores(test).get("per_class", {}).items():
                values = [figure_of(number(entry.get(rate))) for rate in RATES]
                rows.append((*cells, run.name, label, str(entry.get("positives", "n/a")), *values))
    columns = (*heads, "run", "class", "films", *RATES.values())
    return Table(columns, rows, numbers_from=len(heads) + 2)


def _rocs(runs: Sequence[RunFacts], tests: Sequence[Test]) -> list[Block]:
    pictures = []
    for test, name in zip(tests, names_of_tests(tests), strict=True):
        curves = _curves(runs, test)
        if curves:
            text = svg_text(roc_figure(name, curves))
            areas = ", ".join(f"{c.name} {figure_of(c.auc)}" for c in curves)
            pictures.append(Picture(_uri(text), f"ROC curves on {name}; AUC: {areas}"))
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
                pictures.append(_confusion(title, counts, run.metrics["classes"]))
            elif isinstance(counts, dict):
                pictures += [
                    _confusion(f"{title}\n{label}", table, ["no", "yes"])
                    for label, table in counts.items()
                    if any(map(any, table))
                ]
        if pictures:
            title = "Confusion matrices" + (f" of {run.name}" if len(runs) > 1 else "")
            blocks.append(Grid(pictures, least=240, title=title))
    return blocks


def _confusion(title: str, counts: list[list[int]], classes: Sequence[str]) -> Picture:
    words = "; ".join(
        f"true {name}: {', '.join(f'{n} as {c}' for n, c in zip(row, classes, strict=True))}"
        for name, row in zip(classes, counts, strict=True)
    )
    text = svg_text(confusion_figure(title, counts, classes))
    return Picture(_uri(text), f"Confusion matrix, {title.replace(chr(10), ', ')}: {words}")


def _uri(svg: str) -> str:
    return data_uri(svg.encode(), "image/svg+xml")
