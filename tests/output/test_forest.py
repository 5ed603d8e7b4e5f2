"""Forests: every estimate where it belongs, its interval as long as it is."""

import xml.etree.ElementTree as ET

import pytest
from matplotlib.collections import LineCollection

from isnet_cli.output.forest import Forest, forest_figure
from isnet_cli.output.plotting import svg_text

FOREST = Forest(
    ["first row", "second row"],
    {"one": [(0.1, -0.1, 0.3), None], "two": [(0.2, None, None), (-0.4, -0.5, -0.3)]},
    "change of AUC",
)


def test_marks_and_bars_stand_at_their_values() -> None:
    (axes,) = forest_figure(FOREST).axes
    marks = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert [x for x, _ in marks["one"]] == [0.1]
    assert [x for x, _ in marks["two"]] == [0.2, -0.4]
    assert marks["one"][0][1] < marks["two"][0][1] < 0.5 < marks["two"][1][1]
    bars = [c.get_segments()[0] for c in axes.collections if isinstance(c, LineCollection)]
    assert [[point[0] for point in bar] for bar in bars] == [
        pytest.approx([-0.1, 0.3]),
        pytest.approx([-0.5, -0.3]),
    ]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is on top


def test_words_and_the_same_bytes() -> None:
    text = svg_text(forest_figure(FOREST))
    root = ET.fromstring(text)  # noqa: S314 - our own drawing
    words = {"".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"first row", "second row", "change of AUC", "one", "two"} <= words
    assert svg_text(forest_figure(FOREST)) == text
    alone = Forest(["r"], {"only": [(0.5, 0.4, 0.6)]}, "AUC", 0.5)
    assert "only" not in svg_text(forest_figure(alone))
