"""Background reliance: the same images whole, in parts, and on other images' backgrounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.output.figures import Estimate, Forest, number
from isnet_cli.report.blocks import Block, Fold, Grid, Notice, Section, Table, Text
from isnet_cli.report.results import RunResults, TestKey, find_cell
from isnet_cli.report.sections.deltas import RATES, draw_forest, read_estimate
from isnet_cli.report.wording import (
    METRICS_FILE,
    ShownScore,
    explain_intervals,
    format_change,
    format_interval,
    format_p,
    format_share,
    iterate_rows,
    list_heads,
    list_tests,
    name_places,
    name_tests,
)

VARIANTS = {
    "full": "whole image",
    "lungs_only": "lungs alone",
    "lungs_removed": "lungs removed",
    "other_class": "background of another class",
    "same_class": "background of the same class",
}
WHERE = f"{METRICS_FILE}: sets.<set>.<version>.background"
LINES = "evaluate/<set>/<version>/background.csv"


def build_background_section(runs: Sequence[RunResults]) -> Section:
    """Scores of each variant, flips, gap and the area on images without lungs."""
    tests = [t for t in list_tests(runs) if any(run.background(t).get("n") for run in runs)]
    blocks: list[Block] = []
    if tests:
        blocks += [_explain_variants(), _tabulate_summary(runs, tests), _draw_figures(runs, tests)]
        blocks += [_tabulate_variants(runs, tests, rate) for rate in RATES]
        blocks += [Fold("Flips of each class", _tabulate_flips(runs, tests))]
    else:
        blocks.append(Notice(f"No background reliance to show: {_explain_absence(runs)}.", "empty"))
    blocks += _show_attack(runs)
    return Section(
        "background", "Background reliance", blocks, (METRICS_FILE, *([LINES] if tests else []))
    )


def _show_attack(runs: Sequence[RunResults]) -> list[Block]:
    """How far the background, and the lungs, must change to change predictions."""
    tests = [t for t in list_tests(runs) if any(run.attack(t).get("n") for run in runs)]
    if not tests:
        return []
    rows, shown, notes = [], [], []
    heads = list_heads(runs, tests)
    first = next(run.attack(t) for t in tests for run in runs if run.attack(t).get("n"))
    for test, run, where, cells in iterate_rows(runs, tests):
        found = run.attack(test)
        if not found.get("n"):
            notes += [(where, str(found["why"]))] if found.get("why") else []
            continue
        texts = [str(found["n"])]
        for region in ("background", "lungs"):
            cell = found[region]
            mean = number(cell["mean_bound"])
            texts += [
                format_share(number(cell["rate"]), cell),
                "" if mean is None else f"{255 * mean:.1f}",
            ]
        rows.append((*cells, *texts))
        shown.append(ShownScore(where, "flips", {**found["background"], "value": None}))
    bound = 255 * max(first["bounds"])
    return [
        Text(
            "An attack by gradient ascent changes background pixels alone, by at most "
            f"{bound:.0f} of 255 grey levels in {first['steps']} steps for each bound, until the "
            "prediction changes; then the lungs' pixels alone. A model that looks at the lungs "
            "resists in the background longer than in the lungs. The gradient does not pass "
            "through a segmenter that a model has of its own."
        ),
        Table(
            (*heads, "images", "flipped", "mean bound", "flipped", "mean bound"),
            rows,
            numbers_from=len(heads),
            notes=[*explain_intervals(shown), *_list_notes(notes)],
            groups=[("", len(heads) + 1), ("background changed", 2), ("lungs changed", 2)],
            sources=[f"{METRICS_FILE}: sets.<set>.standard.attack"],
        ),
    ]


def _explain_absence(runs: Sequence[RunResults]) -> str:
    reasons = [str(run.background(t).get("why", "")) for run in runs for t in list_tests(runs)]
    reasons += [run.missing.get("evaluate", "").rstrip(".") for run in runs]
    return next(filter(None, reasons), "no image was cut and pasted")


def _explain_variants() -> Text:
    return Text(
        "Each image with a label and a trusted lung mask is shown to the model again in four ways: "
        "its lungs alone, everything but its lungs, and its lungs on the background of an image of "
        "another class or of the same class. A model that looks at the lungs changes few "
        "predictions (flips), has no gap between the two backgrounds, and cannot classify without "
        "lungs (AUC 0.5). The gap is the score on backgrounds of the same class minus the score on "
        "backgrounds of another class."
    )


def _tabulate_summary(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Table:
    rows, shown, notes = [], [], []
    heads = list_heads(runs, tests)
    for test, run, where, cells in iterate_rows(runs, tests):
        found = run.background(test)
        if not found.get("n"):
            notes += [(where, str(found["why"]))] if found.get("why") else []
            continue
        flips, removed = found["flips"], found["background_auc"]
        gaps = {rate: found["gap"][rate] for rate in RATES}
        rows.append(
            (
                *cells,
                str(found["n"]),
                format_share(number(flips["rate"]), flips),
                format_interval(number(removed["value"]), removed),
                *(
                    text
                    for gap in gaps.values()
                    for text in (
                        format_interval(number(gap["value"]), gap, format_change),
                        format_p(gap),
                    )
                ),
            )
        )
        shown.append(ShownScore(where, "flips", {**flips, "value": flips["rate"]}))
        shown.append(ShownScore(where, "AUC without lungs", removed))
        shown += [ShownScore(where, f"gap in {RATES[rate]}", gap) for rate, gap in gaps.items()]
        notes += [(where, words) for words in _describe_left_out(found)]
    columns = (*heads, "images", "flips", "AUC without lungs", "gap", "p", "gap", "p")
    groups = [("", len(heads) + 3), *((words, 2) for words in RATES.values())]
    absent = [
        f"{item.where}: no {item.name}: {item.cell['why']}."
        for item in shown
        if number(item.cell.get("value")) is None and item.cell.get("why")
    ]
    return Table(
        columns,
        rows,
        numbers_from=len(heads),
        notes=[*explain_intervals(shown), *absent, *_list_notes(notes)],
        groups=groups,
        sources=[WHERE],
    )


def _describe_left_out(found: Mapping[str, Any]) -> list[str]:
    lost = found.get("left_out") or {}
    counts = ", ".join(f"{count} images ({why})" for why, count in lost.items())
    return [f"left out {counts}"] if counts else []


def _list_notes(notes: Sequence[tuple[str, str]]) -> list[str]:
    """One line for each note, with the rows that it is about."""
    rows: dict[str, list[str]] = {}
    for where, words in notes:
        rows.setdefault(words, []).append(where)
    return [f"{name_places(places)}: {words}." for words, places in rows.items()]


def _draw_figures(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Grid:
    names = name_tests(tests)

    def forest(label: str, *path: str, value: str = "value", line: float = 0.0) -> Forest:
        points: dict[str, list[Estimate | None]] = {}
        for run in runs:
            cells = [find_cell(run.background(test), *path) for test in tests]
            points[run.name] = [read_estimate({**c, "value": c.get(value)}) for c in cells]
        return Forest(names, points, label, line)

    forests = [
        forest("share of images that flip", "flips", value="rate"),
        forest("gap in macro F1", "gap", "f1"),
        forest("AUC without lungs", "background_auc", line=0.5),
    ]
    note = "A model that does not use the background lies on the dotted line."
    return Grid([draw_forest(f) for f in forests], least=330, note=note, sources=[WHERE])


def _tabulate_variants(runs: Sequence[RunResults], tests: Sequence[TestKey], rate: str) -> Table:
    rows, shown = [], []
    heads = list_heads(runs, tests)
    for test, run, where, cells in iterate_rows(runs, tests):
        found = run.background(test)
        if not found.get("n"):
            continue
        figures = []
        for variant, title in VARIANTS.items():
            entry = found["variants"][variant]
            cell = find_cell(entry, "intervals", "macro", rate)
            figures.append(format_interval(number(entry["macro"][rate]), cell))
            shown.append(ShownScore(where, title, cell))
        rows.append((*cells, *figures))
    return Table(
        (*heads, *VARIANTS.values()),
        rows,
        f"{RATES[rate]} of each variant",
        numbers_from=len(heads),
        notes=explain_intervals(shown),
        sources=[f"{WHERE}.variants"],
    )


def _tabulate_flips(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Table:
    rows, notes = [], []
    heads = list_heads(runs, tests)
    for test, run, where, cells in iterate_rows(runs, tests):
        for label, cell in find_cell(run.background(test), "flips", "per_class").items():
            share = format_share(number(cell["rate"]), cell)
            names = (*cells, label)
            rows.append((*names, f"{cell['count']} of {cell['n']}", share))
            if cell.get("why"):
                notes.append(f"{where}: {cell['why']}.")
    columns = (*heads, "class", "images that flip", "share")
    return Table(
        columns, rows, numbers_from=len(heads) + 1, notes=notes, sources=[f"{WHERE}.flips"]
    )
