"""Shift: how scores, and the share of relevance outside the lungs, change from test to test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isnet_cli.output.figures import Bars, number, reliance_figure, shift_figure
from isnet_cli.report.blocks import Block, Fold, Grid, Notice, Picture, Section, Table, Text
from isnet_cli.report.drawings import embed_figure
from isnet_cli.report.results import RunResults, TestKey
from isnet_cli.report.sections.deltas import build_delta_blocks
from isnet_cli.report.wording import (
    METRICS_FILE,
    VERSIONS,
    format_percent,
    format_score,
    has_versions,
    list_test_cells,
    list_test_heads,
    list_tests,
    name_tests,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES = {"f1": "macro F1", "auc": "macro AUC"}
VALUES = f"{METRICS_FILE}: sets.<set>.<version>.macro"
OUTSIDE = f"{METRICS_FILE}: sets.<set>.<version>.relevance_outside"


def build_shift_section(runs: Sequence[RunResults]) -> Section:
    """The same model on the same images with other backgrounds, and on images from elsewhere."""
    tests = list_tests(runs)
    blocks: list[Block] = []
    if len(tests) < 2:
        found = "No test has been evaluated yet" if not tests else "Only one test was evaluated"
        blocks.append(Notice(f"{found}, so there is no shift to show.", "empty"))
    else:
        blocks += [
            _explain_versions(tests),
            _draw_bars(runs, tests),
            _tabulate_versions(runs, tests),
        ]
        blocks += build_delta_blocks(runs)
    return Section("shift", "Scores under shift", blocks, (METRICS_FILE,))


def build_reliance_section(runs: Sequence[RunResults], even: float | None) -> Section:
    """Share of absolute relevance outside the lungs, per test, run and class.

    Args:
        runs: The runs.
        even: Mean share of the image's area outside the lungs, what a uniform map would have; or
            None.
    """
    tests = [t for t in list_tests(runs) if any(run.outside(t) is not None for run in runs)]
    blocks: list[Block] = []
    if not tests:
        reasons = [
            str((run.scores(t).get("relevance_outside") or {}).get("why", ""))
            for run in runs
            for t in list_tests(runs)
        ]
        why = next(filter(None, reasons), "no test has been evaluated with relevance maps")
        blocks.append(Notice(f"No relevance to show: {why}.", "empty"))
    else:
        blocks += [
            _explain_shares(even),
            _draw_outside(runs, tests, even),
            *_tabulate_outside(runs, tests),
        ]
    title = "Relevance outside the lungs"
    return Section("relevance", title, blocks, ("evaluate/metrics.json", "masks/qc.csv"))


def _explain_versions(tests: Sequence[TestKey]) -> Text:
    words = ""
    if any(version == "deceiving" for _, version in tests):
        words = (
            "In the biased version of a set, each image has the mark of its class (a shape or a "
            "word) in the background, as in training. In the standard version there is no mark. In "
            "the deceiving version each image has the mark of another class, so that a classifier "
            "that reads the marks is always wrong. "
        )
    return Text(f"{words}A robust classifier has bars of equal height.")


def _draw_bars(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Grid:
    names = name_tests(tests)
    pictures = []
    for rate, label, line in (
        ("f1", "macro F1", None),
        ("auc", "macro AUC", (0.5, "chance")),
    ):
        values = {run.name: [run.macro(t, rate) for t in tests] for run in runs}
        ranges = {run.name: [_read_ends(run.cell(t, "macro", rate)) for t in tests] for run in runs}
        groups = [n.replace(" · ", "\n") for n in names]
        bars = Bars(groups, values, label, line=line, ranges=ranges)
        pictures.append(_embed_bars(shift_figure(bars), label, names, values, format_score))
    files = [VALUES, f"{METRICS_FILE}: sets.<set>.<version>.intervals.macro"]
    return Grid(pictures, least=_choose_width(pictures), sources=files)


def _read_ends(cell: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = number(cell.get("low")), number(cell.get("high"))
    return None if low is None or high is None else (low, high)


def _tabulate_versions(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Table:
    """Versions as columns where there are any, else sets; for each score."""
    if not has_versions(tests):
        names, keys = [name for name, _ in tests], list(tests)
        rows = [
            (run.name, *(format_score(run.macro(key, rate)) for rate in RATES for key in keys))
            for run in runs
        ]
        groups = [("", 1), *((label, len(keys)) for label in RATES.values())]
        return Table(("run", *names * len(RATES)), rows, groups=groups, sources=[VALUES])
    versions = [v for v in VERSIONS if any(version == v for _, version in tests)]
    rows = []
    for name in dict.fromkeys(name for name, _ in tests):
        for run in runs:
            cells: list[str] = []
            for rate in RATES:
                values = [run.macro((name, version), rate) for version in versions]
                cells += [format_score(value) for value in (*values, _measure_range(values))]
            rows.append((name, run.name, *cells))
    heads = (*versions, "range")
    groups = [("", 2), *((label, len(heads)) for label in RATES.values())]
    notes = [
        "Range: the largest score of the versions minus the smallest; 0 for a robust classifier."
    ]
    columns = ("test set", "run", *heads * len(RATES))
    return Table(columns, rows, numbers_from=2, groups=groups, notes=notes, sources=[VALUES])


def _measure_range(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return max(known) - min(known) if len(known) == len(values) else None


def _explain_shares(even: float | None) -> Text:
    words = "" if even is None else f" A uniform map would have {format_percent(even)}."
    return Text(
        "Share of each map's absolute relevance that lies outside the lung mask, for the class "
        f"that the run predicts.{words} A low share alone proves nothing: read it together with "
        "the scores under shift."
    )


def _draw_outside(runs: Sequence[RunResults], tests: Sequence[TestKey], even: float | None) -> Grid:
    names = name_tests(tests)
    values = {run.name: [run.outside(t) for t in tests] for run in runs}
    marks = {run.name: [run.outside(t, "p95") for t in tests] for run in runs}
    bars = Bars(
        [n.replace(" · ", "\n") for n in names],
        values,
        "share outside the lungs",
        line=None if even is None else (even, "uniform map"),
        marks=marks,
        mark_label="95th percentile",
    )
    picture = _embed_bars(
        reliance_figure(bars), "share outside the lungs", names, values, format_percent
    )
    files = [OUTSIDE] if even is None else [OUTSIDE, "masks/qc.csv: area"]
    return Grid([picture], least=_choose_width([picture]), sources=files)


def _tabulate_outside(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> list[Block]:
    rows, classes = [], []
    for test, name in zip(tests, list_test_cells(tests), strict=True):
        for run in runs:
            found = run.scores(test).get("relevance_outside") or {}
            if not found:
                continue
            rows.append((*name, run.name, *_format_shares(found)))
            classes += [
                (*name, run.name, label, *_format_shares(entry))
                for label, entry in (found.get("per_class") or {}).items()
            ]
    names, heads = list_test_heads(tests), ("images", "mean", "95th percentile")
    per_class = Table((*names, "run", "class", *heads), classes, numbers_from=len(names) + 2)
    return [
        Table((*names, "run", *heads), rows, numbers_from=len(names) + 1, sources=[OUTSIDE]),
        Fold("Shares by the class that the map explains", per_class),
    ]


def _format_shares(found: dict[str, float | None]) -> tuple[str, str, str]:
    mean, p95 = (format_percent(number(found.get(k))) for k in ("mean", "p95"))
    return str(found.get("n", "n/a")), mean, p95


def _embed_bars(
    figure: Figure,
    what: str,
    names: Sequence[str],
    values: dict[str, list[float | None]],
    say: Callable[[float | None], str],
) -> Picture:
    words = "; ".join(
        f"{run}: {', '.join(f'{n} {say(v)}' for n, v in zip(names, own, strict=True))}"
        for run, own in values.items()
    )
    return embed_figure(figure, f"Bars of {what}. {words}", keep_width=True)


def _choose_width(pictures: Sequence[Picture]) -> int:
    """Two abreast when they are narrow, else one below the other."""
    return 400 if all(picture.width < 470 for picture in pictures) else 640
