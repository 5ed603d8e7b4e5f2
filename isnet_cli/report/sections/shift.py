"""Shift: how scores, and the share of relevance outside the lungs, change from test to test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isnet_cli.output.figures import Bars, number, reliance_figure, shift_figure
from isnet_cli.output.plotting import data_uri, svg_text
from isnet_cli.report.document import Block, Fold, Grid, Notice, Picture, Section, Table, Text
from isnet_cli.report.facts import (
    METRICS,
    VERSIONS,
    RunFacts,
    all_tests,
    cells_of_tests,
    figure_of,
    heads_of_tests,
    names_of_tests,
    percent,
    versioned,
)
from isnet_cli.report.sections.deltas import drop_blocks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Test = tuple[str, str]
RATES = {"f1": "macro-F1", "auc": "macro AUC"}
VALUES = f"{METRICS}: sets.<set>.<version>.macro"
OUTSIDE = f"{METRICS}: sets.<set>.<version>.relevance_outside"


def shift_section(runs: Sequence[RunFacts]) -> Section:
    """The same model on the same images with other backgrounds, and on images from elsewhere."""
    tests = all_tests(runs)
    blocks: list[Block] = []
    if len(tests) < 2:
        found = "No test has been evaluated yet" if not tests else "Only one test was evaluated"
        blocks.append(Notice(f"{found}, so there is no shift to show.", "empty"))
    else:
        blocks += [_explanation(tests), _bars(runs, tests), _table(runs, tests)]
        blocks += drop_blocks(runs)
    return Section("shift", "Scores under shift", blocks, (METRICS,))


def reliance_section(runs: Sequence[RunFacts], even: float | None) -> Section:
    """Share of absolute relevance outside the lungs, per test, run and class.

    Args:
        runs: The runs.
        even: Mean share of the image's area outside the lungs, what an even map would have; or
            None.
    """
    tests = [t for t in all_tests(runs) if any(run.outside(t) is not None for run in runs)]
    blocks: list[Block] = []
    if not tests:
        reasons = [
            str((run.scores(t).get("relevance_outside") or {}).get("why", ""))
            for run in runs
            for t in all_tests(runs)
        ]
        why = next(filter(None, reasons), "no test has been evaluated with relevance maps")
        blocks.append(Notice(f"No relevance to show: {why}.", "empty"))
    else:
        blocks += [_meaning(even), _outside_bars(runs, tests, even), *_outside(runs, tests)]
    title = "Relevance outside the lungs"
    return Section("relevance", title, blocks, ("evaluate/metrics.json", "masks/qc.csv"))


def _explanation(tests: Sequence[Test]) -> Text:
    words = ""
    if any(version == "deceiving" for _, version in tests):
        words = (
            "In the biased version of a set, each image carries its class's mark (a shape or a "
            "word) in the background, as in training; in the standard version there is no mark; "
            "in the deceiving version the marks are exchanged between the classes, so that a "
            "classifier that reads the marks is always wrong. "
        )
    return Text(f"{words}A robust classifier has bars of equal height.")


def _bars(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Grid:
    names = names_of_tests(tests)
    pictures = []
    for rate, label, line in (
        ("f1", "macro-F1", None),
        ("auc", "macro AUC", (0.5, "chance")),
    ):
        values = {run.name: [run.macro(t, rate) for t in tests] for run in runs}
        ranges = {run.name: [_ends(run.cell(t, "macro", rate)) for t in tests] for run in runs}
        groups = [n.replace(" · ", "\n") for n in names]
        bars = Bars(groups, values, label, line=line, ranges=ranges)
        pictures.append(_picture(shift_figure(bars), label, names, values, figure_of))
    files = [VALUES, f"{METRICS}: sets.<set>.<version>.intervals.macro"]
    return Grid(pictures, least=_least(pictures), sources=files)


def _ends(cell: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = number(cell.get("low")), number(cell.get("high"))
    return None if low is None or high is None else (low, high)


def _table(runs: Sequence[RunFacts], tests: Sequence[Test]) -> Table:
    """Versions as columns where there are any, else sets; for each score."""
    if not versioned(tests):
        names, keys = [name for name, _ in tests], list(tests)
        rows = [
            (run.name, *(figure_of(run.macro(key, rate)) for rate in RATES for key in keys))
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
                cells += [figure_of(value) for value in (*values, _spread(values))]
            rows.append((name, run.name, *cells))
    heads = (*versions, "range")
    groups = [("", 2), *((label, len(heads)) for label in RATES.values())]
    notes = ["range: largest minus smallest of the versions; a robust classifier has 0."]
    columns = ("test set", "run", *heads * len(RATES))
    return Table(columns, rows, numbers_from=2, groups=groups, notes=notes, sources=[VALUES])


def _spread(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return max(known) - min(known) if len(known) == len(values) else None


def _meaning(even: float | None) -> Text:
    words = (
        ""
        if even is None
        else f" A map that is even all over the image would have {percent(even)}."
    )
    return Text(
        "Share of each map's absolute relevance that lies outside the lung mask, for the class "
        f"that the run predicts.{words} A low share alone proves nothing: read it with the "
        "scores under shift."
    )


def _outside_bars(runs: Sequence[RunFacts], tests: Sequence[Test], even: float | None) -> Grid:
    names = names_of_tests(tests)
    values = {run.name: [run.outside(t) for t in tests] for run in runs}
    marks = {run.name: [run.outside(t, "p95") for t in tests] for run in runs}
    bars = Bars(
        [n.replace(" · ", "\n") for n in names],
        values,
        "share outside the lungs",
        line=None if even is None else (even, "even map"),
        marks=marks,
        mark_label="95th percentile",
    )
    picture = _picture(reliance_figure(bars), "share outside the lungs", names, values, percent)
    files = [OUTSIDE] if even is None else [OUTSIDE, "masks/qc.csv: area"]
    return Grid([picture], least=_least([picture]), sources=files)


def _outside(runs: Sequence[RunFacts], tests: Sequence[Test]) -> list[Block]:
    rows, classes = [], []
    for test, name in zip(tests, cells_of_tests(tests), strict=True):
        for run in runs:
            found = run.scores(test).get("relevance_outside") or {}
            if not found:
                continue
            rows.append((*name, run.name, *_cells(found)))
            classes += [
                (*name, run.name, label, *_cells(entry))
                for label, entry in (found.get("per_class") or {}).items()
            ]
    names, heads = heads_of_tests(tests), ("images", "mean", "95th percentile")
    per_class = Table((*names, "run", "class", *heads), classes, numbers_from=len(names) + 2)
    return [
        Table((*names, "run", *heads), rows, numbers_from=len(names) + 1, sources=[OUTSIDE]),
        Fold("Shares by the class that the map explains", per_class),
    ]


def _cells(found: dict[str, float | None]) -> tuple[str, str, str]:
    mean, p95 = (percent(number(found.get(k))) for k in ("mean", "p95"))
    return str(found.get("n", "n/a")), mean, p95


def _picture(
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
    uri = data_uri(svg_text(figure).encode(), "image/svg+xml")
    width = round(100 * figure.get_size_inches()[0])
    return Picture(uri, f"Bars of {what}. {words}", width=width)


def _least(pictures: Sequence[Picture]) -> int:
    """Two abreast when they are narrow, else one below the other."""
    return 400 if all(picture.width < 470 for picture in pictures) else 640
