"""Drops: differences of scores between tests of one model, with intervals and p."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isnet_cli.output.figures import number
from isnet_cli.output.forest import Estimate, Forest, forest_figure
from isnet_cli.output.plotting import data_uri, svg_text
from isnet_cli.report.cells import Shown, notes_on, p_text, ranged, signed
from isnet_cli.report.document import Block, Fold, Grid, Picture, Table
from isnet_cli.report.facts import METRICS, RunFacts, cell_at, cells_of_run, heads_of_runs

RATES = {"f1": "macro-F1", "auc": "macro AUC"}
WHERE = f"{METRICS}: shift"
Cell = Mapping[str, Any]
Path = tuple[str, ...]
_NAMES = {
    "auc": "AUC", "f1": "F1", "ap": "avg. precision", "brier": "Brier score",
    "balanced_accuracy": "balanced acc.",
}  # fmt: skip


def drop_blocks(runs: Sequence[RunFacts]) -> list[Block]:
    """Table and figure of the main scores' differences, and all others folded."""
    pairs = list(dict.fromkeys(_title(pair) for run in runs for pair in _pairs(run)))
    if not pairs:
        return []
    return [_table(runs, pairs), _figure(runs, pairs), Fold("All differences", _all(runs, pairs))]


def estimate_of(cell: Cell) -> Estimate | None:
    """A cell as a mark of a forest."""
    value = number(cell.get("value"))
    return None if value is None else (value, number(cell.get("low")), number(cell.get("high")))


def forest_picture(forest: Forest) -> Picture:
    """A forest as a picture whose alternative text has all its figures."""
    words = []
    for model, points in forest.points.items():
        said = (
            f"{row} {_said(point)}" for row, point in zip(forest.rows, points, strict=True) if point
        )
        words.append(f"{model}: {', '.join(said)}")
    figure = forest_figure(forest)
    uri = data_uri(svg_text(figure).encode(), "image/svg+xml")
    width = round(100 * figure.get_size_inches()[0])
    return Picture(uri, f"Estimates of the {forest.label}. {'; '.join(words)}", width=width)


def _said(point: Estimate) -> str:
    value, low, high = point
    return ranged(value, {"low": low, "high": high}, signed)


def _pairs(run: RunFacts) -> Sequence[Mapping[str, Any]]:
    return run.metrics.get("shift") or ()


def _title(pair: Mapping[str, Any]) -> str:
    """Both ends in words; the set is named once where it stays."""
    (name, version), (to, other) = pair["from"], pair["to"]
    if name == to:
        return f"{name}: {version} → {other}"
    return f"{name} → {to}"


def _table(runs: Sequence[RunFacts], titles: Sequence[str]) -> Table:
    rows, shown = [], []
    for title, run, pair in _each(runs, titles):
        cells = {rate: cell_at(pair, "differences", "macro", rate) for rate in RATES}
        figures: list[str] = []
        for cell in cells.values():
            figures += [ranged(number(cell.get("value")), cell, signed), p_text(cell)]
        same = "same" if pair["paired"] else "other"
        rows.append((title, *cells_of_run(runs, run), same, *figures))
        where = f"{title}, {run.name}"
        shown += [Shown(where, RATES[rate], cell) for rate, cell in cells.items()]
    heads = ("change", "p")
    notes = [
        *notes_on(shown),
        *_absent(shown),
        "Change: later minus earlier. Same images: compared image by image; other images: the sets "
        "are independent. p: two-sided, of each comparison alone, not corrected for their number.",
    ]
    names = ("from → to", *heads_of_runs(runs), "images")
    groups = [("", len(names)), *((label, len(heads)) for label in RATES.values())]
    return Table(
        (*names, *heads * len(RATES)),
        rows,
        "Drops",
        numbers_from=len(names),
        notes=notes,
        groups=groups,
        sources=[WHERE],
    )


def _absent(shown: Sequence[Shown]) -> list[str]:
    """Why some differences have no value."""
    found: dict[str, list[str]] = {}
    for item in shown:
        if number(item.cell.get("value")) is None and item.cell.get("why"):
            found.setdefault(str(item.cell["why"]), []).append(f"{item.name} ({item.where})")
    return [f"No difference of {', '.join(places)}: {why}." for why, places in found.items()]


def _figure(runs: Sequence[RunFacts], titles: Sequence[str]) -> Grid:
    pictures = []
    for rate, label in RATES.items():
        points: dict[str, list[Estimate | None]] = {run.name: [None] * len(titles) for run in runs}
        for title, run, pair in _each(runs, titles):
            cell = cell_at(pair, "differences", "macro", rate)
            points[run.name][titles.index(title)] = estimate_of(cell)
        pictures.append(forest_picture(Forest(titles, points, f"change of {label}")))
    note = "Points left of the dotted line are drops; bars are the intervals of the table."
    return Grid(pictures, least=400, note=note, sources=[WHERE])


def _all(runs: Sequence[RunFacts], titles: Sequence[str]) -> Table:
    rows = []
    for title, run, pair in _each(runs, titles):
        for path, cell in _leaves(pair["differences"]):
            name = _NAMES.get(path[-1], path[-1])
            where = {"macro": "mean", "per_class": ""}.get(path[0], "") if len(path) > 1 else ""
            words = " ".join(filter(None, (where, *path[1:-1])))
            value = ranged(number(cell.get("value")), cell, signed)
            names = (title, *cells_of_run(runs, run), words or "whole set", name)
            rows.append((*names, value, p_text(cell)))
    columns = ("from → to", *heads_of_runs(runs), "of", "score", "change", "p")
    return Table(columns, rows, numbers_from=len(columns) - 2, sources=[WHERE])


def _each(
    runs: Sequence[RunFacts], titles: Sequence[str]
) -> Iterator[tuple[str, RunFacts, Mapping[str, Any]]]:
    """Pair by pair, run by run."""
    for title in titles:
        for run in runs:
            for pair in _pairs(run):
                if _title(pair) == title:
                    yield title, run, pair


def _leaves(tree: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Cell]]:
    for name, found in tree.items():
        if (
            isinstance(found, Mapping)
            and "value" in found
            and not isinstance(found["value"], Mapping)
        ):
            yield (*path, name), found
        elif isinstance(found, Mapping):
            yield from _leaves(found, (*path, name))
