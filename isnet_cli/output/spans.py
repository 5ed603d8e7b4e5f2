"""Scores of several runs as points with their intervals, one line a run, one panel a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isnet_cli.output.figures import short, wrapped
from isnet_cli.output.plotting import INK, SERIES, SOFT, drawn

Span = tuple[float | None, float | None, float | None]  # value, low, high


def spans_figure(label: str, tests: Mapping[str, Sequence[tuple[str, Span]]]) -> Figure:
    """One score of every run on every test.

    Args:
        label: The score.
        tests: Test -> (run, (value, low, high)) in order; a score without value is named n/a.
    """
    lines = sum(len(rows) + 1 for rows in tests.values())
    return drawn((4.7, 0.75 + 0.21 * lines), partial(_draw, label, tests))


def _draw(label: str, tests: Mapping[str, Sequence[tuple[str, Span]]], axes: Axes) -> None:
    at, ticks, names = 0.0, [], []
    for test, rows in tests.items():
        if len(tests) > 1:
            title = short(test.replace("\n", " "), 40)
            axes.annotate(
                title, (0, at), xycoords=("axes fraction", "data"), xytext=(3, 0),
                textcoords="offset points", va="center", size=8.5, weight="bold", color=INK,
            )  # fmt: skip
        for place, (run, span) in enumerate(rows):
            at += 1
            ticks.append(at)
            names.append(wrapped(short(run, 24), 24, lines=1))
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
