"""Background reliance: the same images whole, in parts, and on other images' backgrounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.output.figures import number
from isnet_cli.output.forest import Estimate, Forest
from isnet_cli.report.cells import Shown, notes_on, p_text, ranged, share_range, signed
from isnet_cli.report.document import Block, Fold, Grid, Notice, Section, Table, Text
from isnet_cli.report.facts import (
    METRICS,
    RunFacts,
    all_tests,
    cell_at,
    cells_of_run,
    cells_of_tests,
    heads_of_runs,
    heads_of_tests,
    names_of_tests,
)
from isnet_cli.report.sections.deltas import RATES, estimate_of, forest_picture

Test = tuple[str, str]
VARIANTS = {
    "full": "whole image",
    "lungs_only": "lungs alone",
    "lungs_removed": "lungs removed",
    "other_class": "background of another class",
    "same_class": "background of the same class",
}
WHERE = f"{METRICS}: sets.<set>.<version>.background"
LINES = "evaluate/<set>/<version>/background.csv"


def background_section(runs: Sequence[RunFacts]) -> Section:
    """Scores of each variant, flips, gap and the area on images without lungs."""
    tests = [t for t in all_tests(runs) if any(run.background(t).get("n") for run in runs)]
    blocks: list[Block] = []
    if not tests:
        blocks.append(Notice(f"No background reliance to show: {_why(runs)}.", "empty"))
        return Section("background", "Background reliance", blocks, (METRICS,))
    blocks += [_meaning(), _summary(runs, tests), _figures(runs, tests)]
    blocks += [_variants(runs, tests, rate) for rate in RATES]
    blocks += [Fold("Flips of each class", _flips(runs, tests))]
    return Section("background", "Background reliance", blocks, (METRICS, LINES))


def _why(runs: Sequence[RunFacts]) -> str:
    reasons = [str(run.background(t).get("why", "")) for run in runs for t in all_tests(runs)]
    reasons += [run.missing.get("evaluate", "").rstrip(".") for run in runs]
    return next(filter(None, reasons), "no image was cut and pasted")


def _meaning() -> Text:
    return Text(
        "Each image with a label and a trusted lung mask is shown to the model again: its lungs "
        "alone, everything but the lungs, and its lungs on the background of an image of another "
        "class and of the same class. A model that looks at the lungs changes its mind on few "
        "images (flips), has no gap between the two backgrounds, and knows nothing without lungs "
        "(AUC 0.5). The gap is the score on the same class's background minus that on the other's."
    )


def _summary(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Table:
    rows, shown, notes = [], [], []
    heads = (*heads_of_tests(tests), *heads_of_runs(runs))
    for test, name, cells in zip(tests, names_of_tests(tests), cells_of_tests(tests), strict=True):
        for run in runs:
            found = run.background(test)
            where = f"{name}, {run.name}"
            if not found.get("n"):
                notes += [f"{where}: {found['why']}."] if found.get("why") else []
                continue
            flips, removed = found["flips"], found["background_auc"]
            gaps = {rate: found["gap"][rate] for rate in RATES}
            rows.append(
                (
                    *cells,
                    *cells_of_run(runs, run),
                    str(found["n"]),
                    share_range(number(flips["rate"]), flips),
                    ranged(number(removed["value"]), removed),
                    *(
                        text
                        for gap in gaps.values()
                        for text in (ranged(number(gap["value"]), gap, signed), p_text(gap))
                    ),
                )
            )
            shown.append(Shown(where, "flips", {**flips, "value": flips["rate"]}))
            shown.append(Shown(where, "AUC without lungs", removed))
            shown += [Shown(where, f"gap in {RATES[rate]}", gap) for rate, gap in gaps.items()]
            notes += _left_out(where, found)
    titles = ("flips", "AUC without lungs", "gap in macro-F1", "p", "gap in macro AUC", "p")
    columns = (*heads, "images", *titles)
    absent = [
        f"{item.where}: no {item.name}: {item.cell['why']}."
        for item in shown
        if number(item.cell.get("value")) is None and item.cell.get("why")
    ]
    return Table(
        columns,
        rows,
        numbers_from=len(heads),
        notes=[*notes_on(shown), *absent, *notes],
        sources=[WHERE],
    )


def _left_out(where: str, found: Mapping[str, Any]) -> list[str]:
    lost = found.get("left_out") or {}
    if not lost:
        return []
    return [f"{where}: left out {', '.join(f'{n} images ({why})' for why, n in lost.items())}."]


def _figures(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Grid:
    names = names_of_tests(tests)

    def forest(label: str, *path: str, value: str = "value", line: float = 0.0) -> Forest:
        points: dict[str, list[Estimate | None]] = {}
        for run in runs:
            cells = [cell_at(run.background(test), *path) for test in tests]
            points[run.name] = [estimate_of({**c, "value": c.get(value)}) for c in cells]
        return Forest(names, points, label, line)

    forests = [
        forest("share of images that flip", "flips", value="rate"),
        forest("gap in macro-F1", "gap", "f1"),
        forest("AUC without lungs", "background_auc", line=0.5),
    ]
    note = "The dotted line is where a model stands that does not use the background."
    return Grid([forest_picture(f) for f in forests], least=330, note=note, sources=[WHERE])


def _variants(runs: Sequence[RunFacts], tests: Sequence[Test], rate: str) -> Table:
    rows, shown = [], []
    heads = (*heads_of_tests(tests), *heads_of_runs(runs))
    for test, name, cells in zip(tests, names_of_tests(tests), cells_of_tests(tests), strict=True):
        for run in runs:
            found = run.background(test)
            if not found.get("n"):
                continue
            figures = []
            for variant, title in VARIANTS.items():
                entry = found["variants"][variant]
                cell = cell_at(entry, "intervals", "macro", rate)
                figures.append(ranged(number(entry["macro"][rate]), cell))
                shown.append(Shown(f"{name}, {run.name}", title, cell))
            rows.append((*cells, *cells_of_run(runs, run), *figures))
    return Table(
        (*heads, *VARIANTS.values()),
        rows,
        f"{RATES[rate]} of each variant",
        numbers_from=len(heads),
        notes=notes_on(shown),
        sources=[f"{WHERE}.variants"],
    )


def _flips(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Table:
    rows, notes = [], []
    heads = (*heads_of_tests(tests), *heads_of_runs(runs))
    for test, name, cells in zip(tests, names_of_tests(tests), cells_of_tests(tests), strict=True):
        for run in runs:
            for label, cell in cell_at(run.background(test), "flips", "per_class").items():
                share = share_range(number(cell["rate"]), cell)
                names = (*cells, *cells_of_run(runs, run), label)
                rows.append((*names, f"{cell['count']} of {cell['n']}", share))
                if cell.get("why"):
                    notes.append(f"{name}, {run.name}: {cell['why']}.")
    columns = (*heads, "class", "images that flip", "share")
    return Table(
        columns, rows, numbers_from=len(heads) + 1, notes=notes, sources=[f"{WHERE}.flips"]
    )
