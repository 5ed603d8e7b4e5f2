"""Figures of runs: training curves, confusion, bars, estimates with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from isnet_cli.output.plotting import INK, SERIES, SOFT, draw_panel, draw_panels, shorten, wrap_text

Values = Sequence[float | None]
_DARK = {"#1f5fa8", "#8b5aa8", "#b03a48"}  # colours that dark letters cannot be read on
PANEL = (4.2, 3.0)  # inches; small enough to stand two abreast, large enough for a phone
_TITLES = {  # the quantities to draw, in this order
    "loss": "Loss",
    "classification": "Classification loss",
    "heatmap": "Heat-map loss",
    "background": "Heat-map loss, background part",
    "foreground": "Heat-map loss, foreground part",
    "auc": "AUC",
    "swapped_auc": "AUC on swapped backgrounds",
    "macro_f1": "Macro-F1",
    "f1": "F1",
    "accuracy": "Accuracy",
}
Estimate = tuple[float, float | None, float | None]  # value, low, high
NAMED = 16  # classes of a confusion matrix that are named and counted; more leave no room
_FOREST_WIDTH = 4.6  # inches
_MARKERS = "osD^vP"
Span = tuple[float | None, float | None, float | None]  # value, low, high


@dataclass(frozen=True)
class Bars:
    """Grouped bars: one group of bars for each test, one bar in it for each model.

    Attributes:
        groups: Names below the groups.
        bars: Model -> one value for each group, None where there is none.
        label: What the height is.
        top: Upper end of the axis; None lets the data choose.
        line: Height of a dashed line and its name (chance), or None.
        marks: Model -> one further value for each group, drawn as a tick (95th percentile).
        mark_label: What the ticks are.
        ranges: Model -> (low, high) of an interval for each group, None where there is none.
    """

    groups: Sequence[str]
    bars: Mapping[str, Values]
    label: str
    top: float | None = 1.0
    line: tuple[float, str] | None = None
    marks: Mapping[str, Values] | None = None
    mark_label: str = ""
    ranges: Mapping[str, Sequence[tuple[float, float] | None]] | None = None


def curves_figure(history: Sequence[Mapping[str, str | float | None]]) -> Figure:
    """Training curves side by side: losses, then scores; training solid, validation dashed.

    Args:
        history: Rows of ``train/history.csv``; cells may be text, numbers, empty.
    """
    panels = list_quantities(history)
    draws: list[Callable[[Axes], None]] = [
        partial(_draw_curves, title, lines, history) for title, lines in panels.items()
    ]
    return draw_panels(PANEL, draws or [partial(_draw_nothing, "no epoch finished")])


def curve_panels(history: Sequence[Mapping[str, str | float | None]]) -> dict[str, Figure]:
    """The panels of `curves_figure` as figures of their own, by title."""
    return {
        title: draw_panel(PANEL, partial(_draw_curves, title, lines, history))
        for title, lines in list_quantities(history).items()
    }


def list_quantities(
    history: Sequence[Mapping[str, str | float | None]],
) -> dict[str, dict[str, Values]]:
    """What a history holds: title -> line name -> one value for each row.

    Columns ``train_x`` and ``val_x`` are two lines of one quantity ``x``. Columns without a single
    number, and those that are no result (rates, times, norms), are left out.
    """
    found: dict[str, dict[str, Values]] = {}
    for quantity, title in _TITLES.items():
        for column, line in ((f"train_{quantity}", "training"), (f"val_{quantity}", "validation")):
            values = [number(row.get(column)) for row in history]
            if any(value is not None for value in values):
                found.setdefault(title, {})[line] = values
    if found.get("Loss") == found.get("Classification loss"):  # a method with one loss
        found.pop("Classification loss", None)
    return found


def confusion_figure(title: str, counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Confusion matrix: rows true, columns predicted; counts, and shares of the row as shades."""
    side = min(7.5, 2.6 + 0.62 * len(classes))
    return draw_panel((side, side), partial(_draw_confusion, title, counts, classes))


def _write_counts(table: NDArray[np.float64], share: NDArray[np.float64], axes: Axes) -> None:
    for row, column in np.ndindex(*table.shape):
        colour = "white" if share[row, column] > 0.55 else INK
        text = f"{int(table[row, column])}"
        if table[row].sum() and len(table) <= 6:
            text += f"\n{100 * share[row, column]:.0f} %"
        axes.text(column, row, text, ha="center", va="center", color=colour, linespacing=1.3)


def shift_figure(bars: Bars) -> Figure:
    """Scores of each model on each test: equal bars are what a robust model has."""
    return draw_panel(_bars_size(bars), partial(_draw_bars, bars))


def reliance_figure(bars: Bars) -> Figure:
    """Share of absolute relevance outside the lungs, for each model on each test."""
    return draw_panel(_bars_size(bars), partial(_draw_bars, bars))


def number(cell: str | float | None) -> float | None:
    """A finite number from a CSV cell, None from anything else."""
    try:
        value = float(cell) if cell is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _draw_curves(
    title: str,
    lines: Mapping[str, Values],
    history: Sequence[Mapping[str, str | float | None]],
    axes: Axes,
) -> None:
    epochs = [number(row.get("epoch")) for row in history]
    at = [i if epoch is None else epoch for i, epoch in enumerate(epochs)]
    for name, values in lines.items():
        heights = [math.nan if v is None else v for v in values]
        style = "--" if name == "validation" else "-"
        colour = SERIES[1] if name == "validation" else SERIES[0]
        marker = "o" if len(heights) < 3 else ""
        axes.plot(at, heights, style, color=colour, label=name, marker=marker, markersize=4)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.margins(x=0.02)
    axes.legend()


def _draw_nothing(words: str, axes: Axes) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", color=SOFT)


def _draw_confusion(
    title: str, counts: Sequence[Sequence[int]], classes: Sequence[str], axes: Axes
) -> None:
    table = np.asarray(counts, float)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    shades = LinearSegmentedColormap.from_list("isnet", ["#ffffff", "#1f5fa8"])
    axes.imshow(share, cmap=shades, vmin=0, vmax=1)
    if len(classes) <= NAMED:
        _write_counts(table, share, axes)
    step = -(-len(classes) // NAMED)
    places = range(0, len(classes), step)
    names = [wrap_text(classes[place], 14, lines=2 if step == 1 else 1) for place in places]
    upright = 0 if max(map(len, classes)) <= 12 and len(classes) <= 4 else 40
    axes.set_xticks(places, names, rotation=upright, ha="right" if upright else "center")
    axes.set_yticks(places, names)
    if step > 1:
        title = f"{title}\none of {step} classes is named"
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(wrap_text(title, 34))
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)


def _bars_size(bars: Bars) -> tuple[float, float]:
    letters = max((len(line) for g in bars.groups for line in g.split("\n")), default=0)
    group = max(0.34 * len(bars.bars) + 0.25, 0.085 * min(letters, 14) + 0.1)  # inches
    return min(10.0, max(PANEL[0], 0.9 + group * len(bars.groups))), 3.0


def _draw_bars(bars: Bars, axes: Axes) -> None:
    models = list(bars.bars)
    width = 0.8 / max(1, len(models))
    for place, model in enumerate(models):
        colour = SERIES[place % len(SERIES)]
        for group, value in enumerate(bars.bars[model]):
            at = group + (place - (len(models) - 1) / 2) * width
            label = shorten(model, 28) if group == 0 else None
            axes.bar(at, value or 0.0, width * 0.92, color=colour, label=label)
            mark = bars.marks[model][group] if bars.marks else None
            if mark is not None:
                axes.plot([at - width * 0.4, at + width * 0.4], [mark] * 2, color=INK, lw=1.4)
            ends = bars.ranges[model][group] if bars.ranges else None
            if ends is not None:
                axes.vlines(at, *ends, color=INK, linewidth=1)
            words = "n/a" if value is None else f"{value:.2f}"
            # A tick above the bar leaves no room there: the figure goes into the bar, or above it.
            inside = mark is not None and (value or 0.0) > 0.12 * (bars.top or 1.0)
            axes.annotate(
                words,
                (at, (value or 0.0) if inside else max(value or 0.0, mark or 0.0, _top(ends))),
                (0, -2 if inside else 2),
                textcoords="offset points",
                ha="center",
                va="top" if inside else "bottom",
                size=8 if len(models) < 4 else 7,
                color="white" if inside and colour in _DARK else INK,
            )
    _finish_bars(bars, axes)


def _top(ends: tuple[float, float] | None) -> float:
    return 0.0 if ends is None else ends[1]


def _finish_bars(bars: Bars, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if bars.marks is not None:
        handles += axes.plot([], [], color=INK, lw=1.4)
        labels.append(bars.mark_label)
    if bars.line is not None:
        handles.append(axes.axhline(bars.line[0], color=SOFT, lw=1, ls=":", zorder=0.5))
        labels.append(bars.line[1])
    if bars.ranges is not None and any(ends for own in bars.ranges.values() for ends in own):
        handles += axes.plot([], [], color=INK, lw=1)
        labels.append("95 % interval")
    axes.set_xticks(range(len(bars.groups)), [wrap_text(g, 14, lines=3) for g in bars.groups])
    axes.set_ylabel(bars.label)
    axes.set_ylim(0, bars.top * 1.08 if bars.top else None)
    if bars.top == 1.0:
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", length=0)
    axes.figure.legend(handles, labels, loc="outside upper left", ncols=4)


@dataclass(frozen=True)
class Forest:
    """Rows of estimates, one mark in each row for each model.

    Attributes:
        rows: Names, from top to bottom.
        points: Model -> one estimate for each row, None where there is none.
        label: What is estimated.
        line: Value of no effect.
    """

    rows: Sequence[str]
    points: Mapping[str, Sequence[Estimate | None]]
    label: str
    line: float = 0.0


def forest_figure(forest: Forest) -> Figure:
    """A mark for each estimate, a bar from the low to the high end of its interval."""
    step = 0.26 * max(1, len(forest.points)) + 0.2
    return draw_panel((_FOREST_WIDTH, 0.9 + step * len(forest.rows)), partial(_draw_forest, forest))


def _draw_forest(forest: Forest, axes: Axes) -> None:
    axes.axvline(forest.line, color=SOFT, linewidth=1, linestyle=":")
    models = list(forest.points)
    gap = 0.7 / max(1, len(models))
    for place, model in enumerate(models):
        colour = SERIES[place % len(SERIES)]
        known = [(i, p) for i, p in enumerate(forest.points[model]) if p is not None]
        heights = [i + (place - (len(models) - 1) / 2) * gap for i, _ in known]
        for height, (_, (_, low, high)) in zip(heights, known, strict=True):
            if low is not None and high is not None:
                axes.hlines(height, low, high, color=colour, linewidth=1.6)
        axes.plot(
            [point[0] for _, point in known],
            heights,
            _MARKERS[place % len(_MARKERS)],
            color=colour,
            markersize=5,
            label=shorten(model, 28),
        )
    axes.set_yticks(range(len(forest.rows)), [wrap_text(row, 24, lines=3) for row in forest.rows])
    axes.set_ylim(len(forest.rows) - 0.4, -0.6)
    axes.set_xlabel(forest.label)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    if len(models) > 1:
        axes.figure.legend(loc="outside upper left", ncols=3)


def spans_figure(label: str, tests: Mapping[str, Sequence[tuple[str, Span]]]) -> Figure:
    """One score of every run on every test.

    Args:
        label: The score.
        tests: Test -> (run, (value, low, high)) in order; a score without value is named n/a.
    """
    lines = sum(len(rows) + 1 for rows in tests.values())
    return draw_panel((4.7, 0.75 + 0.21 * lines), partial(_draw_spans, label, tests))


def _draw_spans(label: str, tests: Mapping[str, Sequence[tuple[str, Span]]], axes: Axes) -> None:
    at, ticks, names = 0.0, [], []
    for test, rows in tests.items():
        if len(tests) > 1:
            title = shorten(test.replace("\n", " "), 40)
            axes.annotate(
                title, (0, at), xycoords=("axes fraction", "data"), xytext=(3, 0),
                textcoords="offset points", va="center", size=8.5, weight="bold", color=INK,
            )  # fmt: skip
        for place, (run, span) in enumerate(rows):
            at += 1
            ticks.append(at)
            names.append(wrap_text(shorten(run, 24), 24, lines=1))
            _draw_span(axes, at, span, SERIES[place % len(SERIES)])
        at += 1
    axes.set_yticks(ticks, names)
    axes.set_ylim(at - 0.4, -0.7 if len(tests) > 1 else 0.3)
    axes.set_title(label)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))


def _draw_span(axes: Axes, at: float, span: Span, colour: str) -> None:
    value, low, high = span
    if value is None:
        axes.annotate(
            "n/a", (0.5, at), xycoords=("axes fraction", "data"), va="center", color=SOFT, size=8
        )
        return
    if low is not None and high is not None:
        axes.plot([low, high], [at, at], color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot([value], [at], "o", color=colour, markersize=5)
