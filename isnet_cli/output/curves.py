"""Curves of one test: ROC, precision over recall, and reliability of probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isnet_cli.output.plotting import SERIES, SOFT, draw_panel, shorten, wrap_text

_SIZE = (3.7, 3.7)  # inches
_TICKS = [0, 0.25, 0.5, 0.75, 1]
_POINTS = 400  # of a precision-recall curve that are drawn
_BARS = 2  # curves that get error bars; more would hide each other


@dataclass(frozen=True)
class Roc:
    """One ROC curve.

    Attributes:
        name: What the legend says.
        fpr: False-positive rates, ascending from 0 to 1.
        tpr: True-positive rates beside them.
        auc: Area, or None where undefined.
    """

    name: str
    fpr: Sequence[float]
    tpr: Sequence[float]
    auc: float | None


@dataclass(frozen=True)
class PrecisionRecall:
    """One precision-recall curve.

    Attributes:
        name: What the legend says.
        recall: Rising from 0 to 1.
        precision: From each recall (exclusive) back to the one before it.
        ap: Average precision, the area below the steps, or None.
    """

    name: str
    recall: Sequence[float]
    precision: Sequence[float]
    ap: float | None


def thin_curve(values: Sequence[float]) -> list[float]:
    """Of many points of a curve some hundreds, evenly, the first and the last among them."""
    if len(values) <= _POINTS:
        return list(values)
    chosen = np.linspace(0, len(values) - 1, _POINTS).round().astype(int)
    return [values[i] for i in chosen]


def roc_figure(title: str, curves: Sequence[Roc]) -> Figure:
    """ROC curves in one square panel, the areas in the legend."""
    return draw_panel(_SIZE, partial(_draw_roc, title, curves))


def pr_figure(title: str, curves: Sequence[PrecisionRecall]) -> Figure:
    """Precision over recall as steps, the average precision in the legend."""
    return draw_panel(_SIZE, partial(_draw_pr, title, curves))


def reliability_figure(title: str, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Frequency over mean probability of each bin; the diagonal is a calibrated model.

    Args:
        title: Above the panel.
        curves: Name -> bins with ``predicted``, ``observed``, ``observed_low``, ``observed_high``;
            the intervals are drawn for up to two curves.
    """
    return draw_panel(_SIZE, partial(_draw_reliability, title, curves))


def _draw_roc(title: str, curves: Sequence[Roc], axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], ":", color=SOFT, linewidth=1)
    for place, curve in enumerate(curves):
        area = "" if curve.auc is None else f", AUC {curve.auc:.3f}"
        axes.plot(
            curve.fpr,
            curve.tpr,
            _style(place),
            color=SERIES[place % len(SERIES)],
            label=shorten(curve.name, 24) + area,
            clip_on=False,
        )
    _square(axes, title, "1 \N{MINUS SIGN} specificity", "sensitivity")
    if curves:
        axes.legend(loc="lower right", borderaxespad=0.2)


def _draw_pr(title: str, curves: Sequence[PrecisionRecall], axes: Axes) -> None:
    for place, curve in enumerate(curves):
        area = "" if curve.ap is None else f", AP {curve.ap:.3f}"
        axes.step(
            curve.recall,
            curve.precision,
            _style(place),
            where="pre",
            color=SERIES[place % len(SERIES)],
            label=shorten(curve.name, 24) + area,
            clip_on=False,
        )
    _square(axes, title, "recall", "precision")
    if curves:
        axes.legend(loc="lower left", borderaxespad=0.2)


def _draw_reliability(
    title: str, curves: Mapping[str, Sequence[Mapping[str, Any]]], axes: Axes
) -> None:
    axes.plot([0, 1], [0, 1], ":", color=SOFT, linewidth=1)
    for place, (name, bins) in enumerate(curves.items()):
        x, y = ([b[key] for b in bins] for key in ("predicted", "observed"))
        colour = SERIES[place % len(SERIES)]
        axes.plot(
            x, y, f"o{_style(place)}", color=colour, label=shorten(name, 24),
            markersize=3.5, clip_on=False,
        )  # fmt: skip
        if len(curves) <= _BARS:
            low, high = ([b[f"observed_{end}"] for b in bins] for end in ("low", "high"))
            axes.vlines(x, low, high, color=colour, linewidth=1)
    _square(axes, title, "predicted probability", "observed frequency")
    if curves:
        axes.legend(loc="upper left", borderaxespad=0.2)


def _style(place: int) -> str:
    return ("-", "--", "-.")[place // len(SERIES) % 3]


def _square(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(wrap_text(title, 34))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    names = [f"{tick:g}" for tick in _TICKS]
    axes.set_xticks(_TICKS, names)
    axes.set_yticks(_TICKS, names)
