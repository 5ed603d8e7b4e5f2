"""Deltas: differences of scores between tests of one model, with intervals and p."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isnet_cli.output.figures import Estimate, Forest, forest_figure, number
from isnet_cli.report.blocks import Block, Fold, Grid, Picture, Table
from isnet_cli.report.drawings import embed_figure
from isnet_cli.report.results import RunResults, find_cell
from isnet_cli.report.wording import (
    METRICS_FILE,
    ScoreCell,
    ShownScore,
    explain_intervals,
    format_change,
    format_interval,
    format_p,
    list_run_cells,
    list_run_heads,
)

RATES = {"f1": "macro F1", "auc": "macro AUC"}
WHERE = f"{METRICS_FILE}: shift"
Path = tuple[str, ...]
_NAMES = {
    "auc": "AUC", "f1": "F1", "ap": "avg. precision", "brier": "Brier score",
    "balanced_accuracy": "balanced acc.",
}  # fmt: skip


def build_delta_blocks(runs: Sequence[RunResults]) -> list[Block]:
    """Table and figure of the main scores' differences, and all others folded."""
    pairs = list(dict.fromkeys(_name_pair(pair) for run in runs for pair in _list_pairs(run)))
    if not pairs:
        return []
    return [
        _tabulate_main(runs, pairs),
        _draw_deltas(runs, pairs),
        Fold("All differences", _tabulate_all(runs, pairs)),
    ]


def read_estimate(cell: ScoreCell) -> Estimate | None:
    """A cell as a mark of a forest."""
    value = number(cell.get("value"))
    return None if value is None else (value, number(cell.get("low")), number(cell.get("high")))


def draw_forest(forest: Forest) -> Picture:
    """A forest as a picture whose alternative text has all its figures."""
    words = []
    for model, points in forest.points.items():
        estimates = (
            f"{row} {_format_estimate(point)}"
            for row, point in zip(forest.rows, points, strict=True)
            if point
        )
        words.append(f"{model}: {', '.join(estimates)}")
    alt = f"Estimates of the {forest.label}. {'; '.join(words)}"
    return embed_figure(forest_figure(forest), alt, keep_width=True)


def _format_estimate(point: Estimate) -> str:
    value, low, high = point
    return format_interval(value, {"low": low, "high": high}, format_change)


def _list_pairs(run: RunResults) -> Sequence[Mapping[str, Any]]:
    return run.metrics.get("shift") or ()


def _name_pair(pair: Mapping[str, Any]) -> str:
    """Both ends in words; the set is named once where it stays."""
    (name, version), (to, other) = pair["from"], pair["to"]
    if name == to:
        return f"{name}: {version} → {other}"
    return f"{name} → {to}"


def _tabulate_main(runs: Sequence[RunResults], titles: Sequence[str]) -> Table:
    rows, shown = [], []
    for title, run, pair in _iterate_pairs(runs, titles):
        cells = {rate: find_cell(pair, "differences", "macro", rate) for rate in RATES}
        figures: list[str] = []
        for cell in cells.values():
            figures += [
                format_interval(number(cell.get("value")), cell, format_change),
                format_p(cell),
            ]
        same = "same" if pair["paired"] else "other"
        rows.append((title, *list_run_cells(runs, run), same, *figures))
        where = f"{title}, {run.name}"
        shown += [ShownScore(where, RATES[rate], cell) for rate, cell in cells.items()]
    heads = ("change", "p")
    notes = [
        *explain_intervals(shown),
        *_explain_absent(shown),
        "Change: the score on the second test minus the score on the first. Tests on the same "
        "images are compared image by image; tests on other images are independent. p is two-sided "
        "and not corrected for the number of comparisons.",
    ]
    names = ("from → to", *list_run_heads(runs), "images")
    groups = [("", len(names)), *((label, len(heads)) for label in RATES.values())]
    return Table(
        (*names, *heads * len(RATES)),
        rows,
        "Changes between tests",
        numbers_from=len(names),
        notes=notes,
        groups=groups,
        sources=[WHERE],
    )


def _explain_absent(shown: Sequence[ShownScore]) -> list[str]:
    """Why some differences have no value."""
    found: dict[str, list[str]] = {}
    for item in shown:
        if number(item.cell.get("value")) is None and item.cell.get("why"):
            found.setdefault(str(item.cell["why"]), []).append(f"{item.name} ({item.where})")
    return [f"No difference of {', '.join(places)}: {why}." for why, places in found.items()]


def _draw_deltas(runs: Sequence[RunResults], titles: Sequence[str]) -> Grid:
    pictures = []
    for rate, label in RATES.items():
        points: dict[str, list[Estimate | None]] = {run.name: [None] * len(titles) for run in runs}
        for title, run, pair in _iterate_pairs(runs, titles):
            cell = find_cell(pair, "differences", "macro", rate)
            points[run.name][titles.index(title)] = read_estimate(cell)
        pictures.append(draw_forest(Forest(titles, points, f"change of {label}")))
    note = (
        "Points to the left of the dotted line mean a lower score. Bars are the intervals of the "
        "table."
    )
    return Grid(pictures, least=400, note=note, sources=[WHERE])


def _tabulate_all(runs: Sequence[RunResults], titles: Sequence[str]) -> Table:
    rows = []
    for title, run, pair in _iterate_pairs(runs, titles):
        for path, cell in _iterate_leaves(pair["differences"]):
            name = _NAMES.get(path[-1], path[-1])
            where = {"macro": "mean", "per_class": ""}.get(path[0], "") if len(path) > 1 else ""
            words = " ".join(filter(None, (where, *path[1:-1])))
            value = format_interval(number(cell.get("value")), cell, format_change)
            names = (title, *list_run_cells(runs, run), words or "whole set", name)
            rows.append((*names, value, format_p(cell)))
    columns = ("from → to", *list_run_heads(runs), "of", "score", "change", "p")
    return Table(columns, rows, numbers_from=len(columns) - 2, sources=[WHERE])


def _iterate_pairs(
    runs: Sequence[RunResults], titles: Sequence[str]
) -> Iterator[tuple[str, RunResults, Mapping[str, Any]]]:
    """Pair by pair, run by run."""
    for title in titles:
        for run in runs:
            for pair in _list_pairs(run):
                if _name_pair(pair) == title:
                    yield title, run, pair


def _iterate_leaves(tree: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, ScoreCell]]:
    for name, found in tree.items():
        if (
            isinstance(found, Mapping)
            and "value" in found
            and not isinstance(found["value"], Mapping)
        ):
            yield (*path, name), found
        elif isinstance(found, Mapping):
            yield from _iterate_leaves(found, (*path, name))
