"""The figure of the sanity checks of maps: shuffled weights, deletion, insertion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isnet_cli.output.plotting import SERIES, SOFT, draw_panels

_SIZE = (4.2, 3.5)  # inches, of each panel
_KINDS = {"cascading": "from the head down to here", "independent": "this group alone"}
_ORDERS = {"map": "order of the map", "random": "random order", "lungs": "lungs first"}


def check_figure(content: Mapping[str, Any]) -> Figure:
    """Three panels: rank correlation over groups; probability over deleted and restored shares.

    Args:
        content: As ``check.json`` has it.
    """
    shuffled, curves = content["randomisation"], content["curves"]
    return draw_panels(
        _SIZE,
        [
            partial(_draw_shuffled, shuffled),
            partial(_draw_curves, curves, "deletion"),
            partial(_draw_curves, curves, "insertion"),
        ],
    )


def _draw_shuffled(found: Mapping[str, Any], axes: Axes) -> None:
    groups = found["groups"]
    for colour, (kind, words) in zip(SERIES, _KINDS.items(), strict=False):
        cells = [group[kind]["rank"] for group in groups]
        known = [(i, c) for i, c in enumerate(cells, 1) if c["value"] is not None]
        x, y = [i for i, _ in known], [c["value"] for _, c in known]
        axes.plot(x, y, color=colour, marker="o", markersize=3.5, label=words)
        ranged = [(i, c["low"], c["high"]) for i, c in known if c["low"] is not None]
        if ranged:
            places, low, high = zip(*ranged, strict=True)
            axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    other = found["other_images"]["rank"]["value"]
    if other is not None:
        axes.axhline(other, color=SOFT, linestyle=":", linewidth=1.2, label="maps of other images")
    axes.set(title="Shuffled weights", ylim=(-0.3, 1.05))
    axes.set(xlabel="group of layers, 1: the head", ylabel="rank correlation with the map")
    axes.set_xticks(range(1, len(groups) + 1))
    axes.legend(loc="best")


def _draw_curves(found: Mapping[str, Any], shape: str, axes: Axes) -> None:
    for colour, (order, words) in zip(SERIES, _ORDERS.items(), strict=False):
        mean = found[shape][order]["mean"]
        if mean is not None:
            axes.plot(found["share"], mean, color=colour, label=words)
    axes.set(title=shape.capitalize(), xlim=(0, 1), ylim=(0, 1.02))
    changed = "blurred" if shape == "deletion" else "restored"
    axes.set(xlabel=f"share of the image {changed}", ylabel="probability of the class")
    axes.legend(loc="best")
