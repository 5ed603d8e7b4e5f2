"""Estimates with their intervals below each other, against a line that means no effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isnet_cli.output.figures import short, wrapped
from isnet_cli.output.plotting import SERIES, SOFT, drawn

Estimate = tuple[float, float | None, float | None]  # value, low, high
_WIDTH = 4.6  # inches
_MARKERS = "osD^vP"


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
    return drawn((_WIDTH, 0.9 + step * len(forest.rows)), partial(_draw, forest))


def _draw(forest: Forest, axes: Axes) -> None:
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
            label=short(model, 28),
        )
    axes.set_yticks(range(len(forest.rows)), [wrapped(row, 24, lines=3) for row in forest.rows])
    axes.set_ylim(len(forest.rows) - 0.4, -0.6)
    axes.set_xlabel(forest.label)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    if len(models) > 1:
        axes.figure.legend(loc="outside upper left", ncols=3)
