"""Calibration: do probabilities mean what they say, and how much error chance alone would show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.output.curves import reliability_figure
from isnet_cli.output.figures import number
from isnet_cli.report.blocks import Block, Fold, Grid, Notice, Section, Table, Text
from isnet_cli.report.drawings import embed_figure
from isnet_cli.report.results import RunResults, TestKey, find_cell
from isnet_cli.report.wording import (
    METRICS_FILE,
    ShownScore,
    explain_intervals,
    format_interval,
    format_p,
    format_score,
    iterate_rows,
    list_heads,
    list_tests,
    name_tests,
)

Bins = Sequence[Mapping[str, Any]]
WHERE = f"{METRICS_FILE}: sets.<set>.<version>.calibration"


def build_calibration_section(runs: Sequence[RunResults]) -> Section:
    """Brier score, expected calibration error beside that of a calibrated model, reliability."""
    tests = [t for t in list_tests(runs) if any(_has_calibration(run, t) for run in runs)]
    blocks: list[Block] = []
    if tests:
        blocks += [
            _explain_calibration(),
            _tabulate(runs, tests),
            Fold("Each class", _tabulate_classes(runs, tests)),
        ]
        blocks += _draw_reliability(runs, tests)
    else:
        reasons = (run.missing.get("evaluate", "") for run in runs)
        why = next(
            filter(None, reasons),
            "no test has labelled images, or an older version wrote the scores.",
        )
        blocks.append(Notice(f"No calibration to show: {why}", "empty"))
    return Section("calibration", "Calibration", blocks, (METRICS_FILE,))


def _has_calibration(run: RunResults, test: TestKey) -> bool:
    return number(_find_calibration(run, test).get("brier")) is not None


def _find_calibration(run: RunResults, test: TestKey) -> Mapping[str, Any]:
    return find_cell(run.scores(test), "calibration")


def _explain_calibration() -> Text:
    return Text(
        "Of the images that get a probability of 0.8, eight of ten should have the class. The "
        "expected calibration error (ECE) is the mean distance from that over ten bins. It is "
        "never 0 in a finite set. The columns beside it show the error of a perfectly calibrated "
        "model with the same probabilities, and p is how often such a model errs at least as much."
    )


def _tabulate(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Table:
    rows, shown, heads = [], [], list_heads(runs, tests)
    for test, run, where, cells in iterate_rows(runs, tests):
        found = _find_calibration(run, test)
        if not _has_calibration(run, test):
            continue
        brier, chance = run.cell(test, "calibration", "brier"), found["ece_if_calibrated"]
        shown.append(ShownScore(where, "Brier score", brier))
        rows.append(
            (
                *cells,
                format_interval(number(found["brier"]), brier),
                format_score(number(found["ece"])),
                format_score(number(chance["mean"])),
                format_score(number(chance["high"])),
                format_p(chance),
            )
        )
    columns = (*heads, "Brier score", "ECE", "mean", "95th percentile", "p")
    groups = [("", len(heads) + 2), ("ECE of a calibrated model", 3)]
    notes = [
        *explain_intervals(shown),
        "ECE has no interval, because resampling increases it: no interval could contain the true "
        "value of a calibrated model.",
    ]
    return Table(
        columns, rows, numbers_from=len(heads), notes=notes, groups=groups, sources=[WHERE]
    )


def _tabulate_classes(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Table:
    rows, notes, heads = [], [], list_heads(runs, tests)
    for test, run, where, cells in iterate_rows(runs, tests):
        for label, entry in find_cell(_find_calibration(run, test), "per_class").items():
            values = [format_score(number(entry.get(score))) for score in ("brier", "ece")]
            rows.append((*cells, str(label), *values))
            if entry.get("why"):
                notes.append(f"{where}: {entry['why']}.")
    columns = (*heads, "class", "Brier score", "ECE")
    return Table(columns, rows, numbers_from=len(heads) + 1, notes=notes, sources=[WHERE])


def _draw_reliability(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> list[Block]:
    """One panel for each test: the runs' curves of the predicted class; of labels, run by run."""
    together = all(
        "curve" in _find_calibration(run, t)
        for run in runs
        for t in tests
        if _has_calibration(run, t)
    )
    if len(runs) > 1 and together:
        curves = {
            t: {run.name: _find_calibration(run, t).get("curve", []) for run in runs} for t in tests
        }
        files = [f"RUN/{METRICS_FILE}: sets.<set>.<version>.calibration.curve"]
        return [_draw_panels(curves, tests, "Reliability of the predicted class", files)]
    grids: list[Block] = []
    for run in runs:
        own = {
            t: _list_curves(_find_calibration(run, t)) for t in tests if _has_calibration(run, t)
        }
        title = "Reliability" + (f" of {run.name}" if len(runs) > 1 else "")
        prefix = f"{run.name}/" if len(runs) > 1 else ""
        sources = [f"{prefix}{WHERE}", f"{prefix}evaluate/<set>/<version>/reliability.svg"]
        grids.append(_draw_panels(own, tests, title, sources))
    return grids


def _list_curves(found: Mapping[str, Any]) -> dict[str, Bins]:
    if "curve" in found:
        return {"predicted class": found["curve"]}
    entries = find_cell(found, "per_class").items()
    return {name: entry["curve"] for name, entry in entries if entry.get("curve")}


def _draw_panels(
    curves: Mapping[TestKey, Mapping[str, Bins]],
    tests: Sequence[TestKey],
    title: str,
    files: Sequence[str],
) -> Grid:
    pictures = []
    for test, name in zip(tests, name_tests(tests), strict=True):
        if test not in curves:
            continue
        lines = {line: bins for line, bins in curves[test].items() if bins}
        words = "; ".join(f"{line}: {_describe_bins(bins)}" for line, bins in lines.items())
        alt = f"Reliability on {name}, frequency at probability. {words}"
        pictures.append(embed_figure(reliability_figure(name, lines), alt))
    note = (
        "Points on the dotted line are calibrated. Bars are Wilson's 95\N{NO-BREAK SPACE}% "
        "intervals; panels with more than two curves have none."
    )
    return Grid(pictures, least=270, title=title, note=note, sources=files)


def _describe_bins(bins: Bins) -> str:
    return ", ".join(
        f"{format_score(number(b['observed']), 2)} at {format_score(number(b['predicted']), 2)}"
        for b in bins
    )
