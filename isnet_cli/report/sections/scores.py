"""Scores of each run on each test with their intervals, and the thresholds of several labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.output.figures import number
from isnet_cli.report.cells import Shown, notes_on, ranged
from isnet_cli.report.document import Block, Fold, Notice, Section, Table
from isnet_cli.report.facts import (
    METRICS,
    RunFacts,
    all_tests,
    cells_of_run,
    cells_of_tests,
    figure_of,
    heads_of_runs,
    heads_of_tests,
    names_of_tests,
)
from isnet_cli.report.sections.curves import curve_blocks

RATES = {
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "f1": "F1",
    "auc": "AUC",
    "ap": "avg. precision",
}
MAIN, PARTS = ("f1", "auc", "ap"), ("precision", "recall", "specificity")
OWN = {"accuracy": "accuracy", "balanced_accuracy": "balanced acc."}
INTERVALS = f"{METRICS}: sets.<set>.<version>.intervals"
Test = tuple[str, str]


def scores_section(runs: Sequence[RunFacts]) -> Section:
    """Tables of all scores, then ROC and precision-recall curves and confusion matrices."""
    blocks: list[Block] = [
        Notice(f"No scores to show for {run.name}: {run.missing['evaluate']}", "empty")
        for run in runs
        if not run.metrics and "evaluate" in run.missing
    ]
    tests = all_tests(runs)
    if tests:
        blocks += [*_overall(runs, tests), Fold("Scores of each class", _per_class(runs, tests))]
        blocks += _thresholds(runs)
        blocks += curve_blocks(runs, tests)
    files = (METRICS, "evaluate/<set>/<version>/predictions.csv")
    return Section("scores", "Scores", blocks, files)


def _overall(runs: Sequence[RunFacts], tests: Sequence[Test]) -> list[Table]:
    """The main scores, then those that they are made of; one table would be too wide."""
    # For exclusive classes the balanced accuracy is the mean recall, which has its own column.
    exclusive = all(run.metrics.get("task") != "multilabel" for run in runs)
    own = {k: v for k, v in OWN.items() if not exclusive or k == "accuracy"}
    return [_table(runs, tests, own, MAIN), _table(runs, tests, {}, PARTS)]


def _table(
    runs: Sequence[RunFacts],
    tests: Sequence[Test],
    own: Mapping[str, str],
    means: Sequence[str],
) -> Table:
    """Scores of the whole set (`own`: name -> head) and means over the classes."""
    rows, notes, shown = [], [], []
    titles = {**own, **{rate: RATES[rate] for rate in means}}
    counts = {"n": "images", "patients": "patients"} if own else {}
    if not any("patients" in run.scores(test) for run in runs for test in tests):
        counts.pop("patients", None)
    for test, name, cells in zip(tests, names_of_tests(tests), cells_of_tests(tests), strict=True):
        for run in runs:
            found = run.scores(test)
            if not found:
                continue
            entries: dict[tuple[str, ...], float | None] = {}
            entries |= {(k,): number(found.get(k)) for k in own}
            entries |= {("macro", rate): run.macro(test, rate) for rate in means}
            numbers = [str(found.get(count, "n/a")) for count in counts]
            values = [ranged(value, run.cell(test, *path)) for path, value in entries.items()]
            rows.append((*cells, *cells_of_run(runs, run), *numbers, *values))
            where = f"{name}, {run.name}"
            shown += [Shown(where, titles[path[-1]], run.cell(test, *path)) for path in entries]
            notes += _reasons(where, found, titles)
    heads = (*heads_of_tests(tests), *heads_of_runs(runs))
    columns = (*heads, *counts.values(), *titles.values())
    return Table(
        columns,
        rows,
        numbers_from=len(heads),
        notes=[*notes_on(shown), *dict.fromkeys(notes)],
        groups=[("", len(columns) - len(means)), ("mean over the classes", len(means))],
        sources=[INTERVALS],
    )


def _reasons(where: str, found: Mapping[str, Any], titles: Mapping[str, str] = RATES) -> list[str]:
    why = {**(found.get("macro", {}).get("why") or {}), **(found.get("why") or {})}
    groups: dict[str, list[str]] = {}
    for name, reason in why.items():
        if name in titles:
            groups.setdefault(reason, []).append(titles[name])
    return [f"{where}: {', '.join(names)}: {reason}." for reason, names in groups.items()]


def _per_class(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Table:
    rows, shown, reasons = [], [], []
    heads = (*heads_of_tests(tests), *heads_of_runs(runs))
    for test, name, cells in zip(tests, names_of_tests(tests), cells_of_tests(tests), strict=True):
        for run in runs:
            for label, entry in run.scores(test).get("per_class", {}).items():
                found = {rate: run.cell(test, "per_class", label, rate) for rate in RATES}
                values = [ranged(number(entry.get(rate)), found[rate]) for rate in RATES]
                names = (*cells, *cells_of_run(runs, run), label)
                rows.append((*names, str(entry.get("positives", "n/a")), *values))
                where = f"{name}, {run.name}, {label}"
                shown += [Shown(where, RATES[rate], cell) for rate, cell in found.items()]
                reasons += _reasons(where, {"why": entry.get("why")})
    columns = (*heads, "class", "images", *RATES.values())
    notes = [*notes_on(shown), *dict.fromkeys(reasons)]
    numbers = len(heads) + 1
    return Table(columns, rows, numbers_from=numbers, notes=notes, sources=[INTERVALS])


def _thresholds(runs: Sequence[RunFacts]) -> list[Block]:
    """From which probability a label counts as found, for several labels per image."""
    rows, notes = [], []
    for run in runs:
        values = run.metrics.get("thresholds")
        rules = run.card.get("threshold_rule") or {}
        for label, value in zip(run.metrics.get("classes", ()), values or (), strict=False):
            rule = rules.get(label) or {}
            cells = figure_of(number(value)), figure_of(number(rule.get("f1")))
            rows.append((run.name, str(label), *cells))
            if rule.get("why"):
                notes.append(f"{run.name}, {label}: {rule['why']}.")
    if not rows:
        return []
    columns = ("run", "label", "threshold", "F1 on the validation images there")
    sources = [f"{METRICS}: thresholds", "train/model.json: threshold_rule"]
    table = Table(columns, rows, numbers_from=2, notes=notes, sources=sources)
    return [Fold("Thresholds of the labels", table)]
