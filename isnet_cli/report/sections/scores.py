"""Scores of each run on each test with their intervals, and the thresholds of several labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.output.figures import number
from isnet_cli.report.blocks import Block, Fold, Notice, Section, Table
from isnet_cli.report.results import RunResults, TestKey
from isnet_cli.report.sections.curves import build_curve_blocks
from isnet_cli.report.wording import (
    METRICS_FILE,
    ShownScore,
    explain_intervals,
    format_interval,
    format_score,
    iterate_rows,
    list_heads,
    list_tests,
)

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
INTERVALS = f"{METRICS_FILE}: sets.<set>.<version>.intervals"


def build_scores_section(runs: Sequence[RunResults]) -> Section:
    """Tables of all scores, then ROC and precision-recall curves and confusion matrices."""
    blocks: list[Block] = [
        Notice(f"No scores to show for {run.name}: {run.missing['evaluate']}", "empty")
        for run in runs
        if not run.metrics and "evaluate" in run.missing
    ]
    tests = list_tests(runs)
    if tests:
        blocks += _tell_adapted(runs)
        blocks += [
            *_tabulate_overall(runs, tests),
            Fold("Scores of each class", _tabulate_classes(runs, tests)),
        ]
        blocks += _tabulate_thresholds(runs)
        blocks += build_curve_blocks(runs, tests)
    files = (METRICS_FILE, "evaluate/<set>/<version>/predictions.csv")
    return Section("scores", "Scores", blocks, files)


def _tell_adapted(runs: Sequence[RunResults]) -> list[Block]:
    """Says of which models each set was scored with statistics of its own images."""
    names = [run.name for run in runs if run.metrics.get("adapt", "none") != "none"]
    if not names:
        return []
    text = "each set was scored with BatchNorm statistics of its own images (evaluate.adapt)"
    return [Notice(f"{', '.join(names)}: {text}.", "info")]


def _tabulate_overall(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> list[Table]:
    """The main scores, then those that they are made of; one table would be too wide."""
    # For exclusive classes the balanced accuracy is the mean recall, which has its own column.
    exclusive = all(run.metrics.get("task") != "multilabel" for run in runs)
    own = {k: v for k, v in OWN.items() if not exclusive or k == "accuracy"}
    return [_tabulate(runs, tests, own, MAIN), _tabulate(runs, tests, {}, PARTS)]


def _tabulate(
    runs: Sequence[RunResults],
    tests: Sequence[TestKey],
    own: Mapping[str, str],
    means: Sequence[str],
) -> Table:
    """Scores of the whole set (`own`: name -> head) and means over the classes."""
    rows, notes, shown = [], [], []
    titles = {**own, **{rate: RATES[rate] for rate in means}}
    counts = {"n": "images", "patients": "patients"} if own else {}
    if not any("patients" in run.scores(test) for run in runs for test in tests):
        counts.pop("patients", None)
    for test, run, where, cells in iterate_rows(runs, tests):
        found = run.scores(test)
        if not found:
            continue
        entries: dict[tuple[str, ...], float | None] = {}
        entries |= {(k,): number(found.get(k)) for k in own}
        entries |= {("macro", rate): run.macro(test, rate) for rate in means}
        numbers = [str(found.get(count, "n/a")) for count in counts]
        values = [format_interval(value, run.cell(test, *path)) for path, value in entries.items()]
        rows.append((*cells, *numbers, *values))
        shown += [ShownScore(where, titles[path[-1]], run.cell(test, *path)) for path in entries]
        notes += _explain_missing_scores(where, found, titles)
    heads = list_heads(runs, tests)
    columns = (*heads, *counts.values(), *titles.values())
    return Table(
        columns,
        rows,
        numbers_from=len(heads),
        notes=[*explain_intervals(shown), *dict.fromkeys(notes)],
        groups=[("", len(columns) - len(means)), ("mean over the classes", len(means))],
        sources=[INTERVALS],
    )


def _explain_missing_scores(
    where: str, found: Mapping[str, Any], titles: Mapping[str, str] = RATES
) -> list[str]:
    why = {**(found.get("macro", {}).get("why") or {}), **(found.get("why") or {})}
    groups: dict[str, list[str]] = {}
    for name, reason in why.items():
        if name in titles:
            groups.setdefault(reason, []).append(titles[name])
    return [f"{where}: {', '.join(names)}: {reason}." for reason, names in groups.items()]


def _tabulate_classes(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Table:
    rows, shown, reasons = [], [], []
    heads = list_heads(runs, tests)
    for test, run, where, cells in iterate_rows(runs, tests):
        for label, entry in run.scores(test).get("per_class", {}).items():
            found = {rate: run.cell(test, "per_class", label, rate) for rate in RATES}
            values = [format_interval(number(entry.get(rate)), found[rate]) for rate in RATES]
            names = (*cells, label)
            rows.append((*names, str(entry.get("positives", "n/a")), *values))
            place = f"{where}, {label}"
            shown += [ShownScore(place, RATES[rate], cell) for rate, cell in found.items()]
            reasons += _explain_missing_scores(place, {"why": entry.get("why")})
    columns = (*heads, "class", "images", *RATES.values())
    notes = [*explain_intervals(shown), *dict.fromkeys(reasons)]
    numbers = len(heads) + 1
    return Table(columns, rows, numbers_from=numbers, notes=notes, sources=[INTERVALS])


def _tabulate_thresholds(runs: Sequence[RunResults]) -> list[Block]:
    """From which probability a label counts as found, for several labels per image."""
    rows, notes = [], []
    for run in runs:
        values = run.metrics.get("thresholds")
        rules = run.card.get("threshold_rule") or {}
        for label, value in zip(run.metrics.get("classes", ()), values or (), strict=False):
            rule = rules.get(label) or {}
            cells = format_score(number(value)), format_score(number(rule.get("f1")))
            rows.append((run.name, str(label), *cells))
            if rule.get("why"):
                notes.append(f"{run.name}, {label}: {rule['why']}.")
    if not rows:
        return []
    columns = ("run", "label", "threshold", "F1 on the validation images there")
    sources = [f"{METRICS_FILE}: thresholds", "train/model.json: threshold_rule"]
    table = Table(columns, rows, numbers_from=2, notes=notes, sources=sources)
    return [Fold("Thresholds of the labels", table)]
