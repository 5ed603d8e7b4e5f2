"""Precision-recall and reliability curves show what they are given."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from isnet_cli.output.curves import PrecisionRecall, pr_figure, reliability_figure, thin_curve
from isnet_cli.output.plotting import svg_text

BINS = [
    {"predicted": 0.15, "observed": 0.2, "observed_low": 0.1, "observed_high": 0.35},
    {"predicted": 0.85, "observed": 0.7, "observed_low": 0.5, "observed_high": 0.8},
]


def words(figure: Figure) -> str:
    root = ET.fromstring(svg_text(figure))  # noqa: S314 - our own text
    return " ".join("".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text"))


def test_precision_and_recall_are_steps_with_their_area() -> None:
    figure = pr_figure("far", [PrecisionRecall("tb <x>", [0, 0.5, 1], [1, 1, 0.6], 0.8)])
    line = figure.axes[0].lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 0.5, 1], [1, 1, 0.6])
    assert line.get_drawstyle() == "steps-pre"
    assert "tb <x>, AP 0.800" in words(figure)
    assert "AP" not in words(pr_figure("t", [PrecisionRecall("a", [0, 1], [1, 1], None)]))


def test_reliability_has_points_intervals_and_the_diagonal() -> None:
    figure = reliability_figure("far", {"predicted class": BINS})
    diagonal, curve = figure.axes[0].lines
    assert list(diagonal.get_xdata()) == [0, 1]
    assert list(curve.get_ydata()) == [0.2, 0.7]
    segments = figure.axes[0].collections[0].get_segments()
    assert [s[:, 1].tolist() for s in segments] == [[0.1, 0.35], [0.5, 0.8]]
    assert "predicted class" in words(figure)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_any_number_of_curves(count: int) -> None:
    names = [f"class {k}" for k in range(count)]
    figure = reliability_figure("t", dict.fromkeys(names, BINS))
    assert len(figure.axes[0].collections) == (count if count <= 2 else 0)
    curves = [PrecisionRecall(name, [0, 1], [1, 0.5], 0.5) for name in names]
    assert svg_text(pr_figure("t", curves)) == svg_text(pr_figure("t", curves))


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    assert thin_curve([0.0, 1.0]) == [0.0, 1.0]
    found = thin_curve([i / 1000 for i in range(1001)])
    assert (len(found), found[0], found[-1]) == (400, 0.0, 1.0)
    assert found == sorted(found)
