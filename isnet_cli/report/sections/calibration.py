"""Calibration: do probabilities mean what they say, and how much error chance alone would show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.output.curves import reliability_figure
from isnet_cli.output.figures import number
from isnet_cli.output.plotting import data_uri, svg_text
from isnet_cli.report.cells import Shown, notes_on, p_text, ranged
from isnet_cli.report.document import Block, Fold, Grid, Notice, Picture, Section, Table, Text
from isnet_cli.report.facts import (
    METRICS,
    RunFacts,
    all_tests,
    cell_at,
    cells_of_run,
    cells_of_tests,
    figure_of,
    heads_of_runs,
    heads_of_tests,
    names_of_tests,
)

Test = tuple[str, str]
Bins = Sequence[Mapping[str, Any]]
WHERE = f"{METRICS}: sets.<set>.<version>.calibration"


def calibration_section(runs: Sequence[RunFacts]) -> Section:
    """Brier score, expected calibration error beside that of a calibrated model, reliability."""
    tests = [t for t in all_tests(runs) if any(_has(run, t) for run in runs)]
    blocks: list[Block] = []
    if tests:
        blocks += [_meaning(), _table(runs, tests), Fold("Each class", _classes(runs, tests))]
        blocks += _reliability(runs, tests)
    else:
        reasons = (run.missing.get("evaluate", "") for run in runs)
        why = next(
            filter(None, reasons), "no test has labelled images, or evaluate is of old form."
        )
        blocks.append(Notice(f"No calibration to show: {why}", "empty"))
    return Section("calibration", "Calibration", blocks, (METRICS,))


def _has(run: RunFacts, test: Test) -> bool:
    return number(_found(run, test).get("brier")) is not None


def _found(run: RunFacts, test: Test) -> Mapping[str, Any]:
    return cell_at(run.scores(test), "calibration")


def _meaning() -> Text:
    return Text(
        "Of the images that get a probability of 0.8, eight of ten should have the class. The "
        "calibration error (ECE) is the mean distance from that, over ten bins. It is never 0 in a "
        "finite set: the columns beside it say what a perfectly calibrated model with the same "
        "probabilities would show by chance, and p how often it would show at least this error."
    )


def _table(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Table:
    rows, shown, heads = [], [], (*heads_of_tests(tests), *heads_of_runs(runs))
    for test, name, cells in zip(tests, names_of_tests(tests), cells_of_tests(tests), strict=True):
        for run in runs:
            found = _found(run, test)
            if not _has(run, test):
                continue
            brier, chance = run.cell(test, "calibration", "brier"), found["ece_if_calibrated"]
            shown.append(Shown(f"{name}, {run.name}", "Brier score", brier))
            rows.append(
                (
                    *cells,
                    *cells_of_run(runs, run),
                    ranged(number(found["brier"]), brier),
                    figure_of(number(found["ece"])),
                    figure_of(number(chance["mean"])),
                    figure_of(number(chance["high"])),
                    p_text(chance),
                )
            )
    columns = (*heads, "Brier score", "ECE", "mean", "95th percentile", "p")
    groups = [("", len(heads) + 2), ("ECE of a calibrated model", 3)]
    notes = [
        *notes_on(shown),
        "ECE has no interval: resampling adds to it, so that no interval could hold the truth of "
        "a calibrated model.",
    ]
    return Table(
        columns, rows, numbers_from=len(heads), notes=notes, groups=groups, sources=[WHERE]
    )


def _classes(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Table:
    rows, notes, heads = [], [], (*heads_of_tests(tests), *heads_of_runs(runs))
    for test, name, cells in zip(tests, names_of_tests(tests), cells_of_tests(tests), strict=True):
        for run in runs:
            for label, entry in cell_at(_found(run, test), "per_class").items():
                values = [figure_of(number(entry.get(score))) for score in ("brier", "ece")]
                rows.append((*cells, *cells_of_run(runs, run), str(label), *values))
                if entry.get("why"):
                    notes.append(f"{name}, {run.name}: {entry['why']}.")
    columns = (*heads, "class", "Brier score", "ECE")
    return Table(columns, rows, numbers_from=len(heads) + 1, notes=notes, sources=[WHERE])


def _reliability(runs: Sequence[RunFacts], tests: Sequence[Test]) -> list[Block]:
    """One panel for each test: the runs' curves of the predicted class; of labels, run by run."""
    together = all("curve" in _found(run, t) for run in runs for t in tests if _has(run, t))
    if len(runs) > 1 and together:
        curves = {t: {run.name: _found(run, t).get("curve", []) for run in runs} for t in tests}
        files = [f"each run's {METRICS}: sets.<set>.<version>.calibration.curve"]
        return [_grid(curves, tests, "Reliability of the predicted class", files)]
    grids: list[Block] = []
    for run in runs:
        own = {t: _curves(_found(run, t)) for t in tests if _has(run, t)}
        title = "Reliability" + (f" of {run.name}" if len(runs) > 1 else "")
        prefix = f"{run.name}/" if len(runs) > 1 else ""
        drawn = [f"{prefix}{WHERE}", f"{prefix}evaluate/<set>/<version>/reliability.svg"]
        grids.append(_grid(own, tests, title, drawn))
    return grids


def _curves(found: Mapping[str, Any]) -> dict[str, Bins]:
    if "curve" in found:
        return {"predicted class": found["curve"]}
    entries = cell_at(found, "per_class").items()
    return {name: entry["curve"] for name, entry in entries if entry.get("curve")}


def _grid(
    curves: Mapping[Test, Mapping[str, Bins]],
    tests: Sequence[Test],
    title: str,
    files: Sequence[str],
) -> Grid:
    pictures = []
    for test, name in zip(tests, names_of_tests(tests), strict=True):
        if test not in curves:
            continue
        lines = {line: bins for line, bins in curves[test].items() if bins}
        words = "; ".join(f"{line}: {_said(bins)}" for line, bins in lines.items())
        uri = data_uri(svg_text(reliability_figure(name, lines)).encode(), "image/svg+xml")
        pictures.append(Picture(uri, f"Reliability on {name}, frequency at probability. {words}"))
    note = (
        "Points on the dotted line are calibrated; bars are Wilson's 95\N{NO-BREAK SPACE}% "
        "intervals, left out where there are more than two curves."
    )
    return Grid(pictures, least=270, title=title, note=note, sources=files)


def _said(bins: Bins) -> str:
    return ", ".join(
        f"{figure_of(number(b['observed']), 2)} at {figure_of(number(b['predicted']), 2)}"
        for b in bins
    )
