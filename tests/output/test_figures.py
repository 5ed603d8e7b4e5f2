"""Figures: they say what the data say, survive hostile names, and come out the same each time."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from isnet_cli.output.curves import Roc, roc_figure
from isnet_cli.output.figures import (
    Bars,
    Forest,
    confusion_figure,
    curve_panels,
    curves_figure,
    forest_figure,
    list_quantities,
    number,
    reliance_figure,
    shift_figure,
    spans_figure,
)
from isnet_cli.output.plotting import shorten, svg_text, wrap_text

HISTORY = [
    {
        "epoch": str(epoch),
        "lr": "0.01",
        "train_loss": f"{2 / (epoch + 1)}",
        "val_loss": f"{3 / (epoch + 1)}" if epoch else "",
        "train_heatmap": "nan",
        "train_norm": "3",
        "val_auc": f"{0.5 + epoch / 20}",
    }
    for epoch in range(8)
]
HOSTILE = '<script>$\\frac{alert</script> & "x" 結核'
FOREST = Forest(
    ["first row", "second row"],
    {"one": [(0.1, -0.1, 0.3), None], "two": [(0.2, None, None), (-0.4, -0.5, -0.3)]},
    "change of AUC",
)
ROWS = [("one", (0.7, 0.6, 0.8)), ("two", (0.9, None, None)), ("three", (None, None, None))]


def words(figure: Figure) -> str:
    """All letters of a figure, read back from its SVG."""
    root = ET.fromstring(svg_text(figure))  # noqa: S314 - our own text
    return " ".join("".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text"))


def heights(figure: Figure) -> list[float]:
    return [patch.get_height() for patch in figure.axes[0].patches]


def test_history_is_sorted_into_quantities_and_lines() -> None:
    found = list_quantities(HISTORY)
    assert list(found) == ["Loss", "AUC"]
    assert found["Loss"]["training"][0] == 2.0
    assert found["Loss"]["validation"][:2] == [None, 1.5]
    assert list(found["AUC"]) == ["validation"]


def test_curves_draw_each_value_and_leave_gaps() -> None:
    panel = curve_panels(HISTORY)["Loss"]
    training, validation = panel.axes[0].lines
    assert list(training.get_ydata()) == [2 / (e + 1) for e in range(8)]
    assert validation.get_ydata()[0] != validation.get_ydata()[0]
    assert "epoch" in words(panel)
    assert len(curves_figure(HISTORY).axes) == 2


def test_curves_without_an_epoch_say_so() -> None:
    assert "no epoch finished" in words(curves_figure([]))
    assert curve_panels([]) == {}


def test_a_single_epoch_is_visible() -> None:
    assert curve_panels(HISTORY[1:2])["Loss"].axes[0].lines[0].get_marker() == "o"


def test_roc_shows_curves_and_areas() -> None:
    figure = roc_figure("test", [Roc("tb", [0, 0.2, 1], [0, 0.9, 1], 0.85), Roc("x", [], [], None)])
    assert "tb, AUC 0.850" in words(figure)
    assert list(figure.axes[0].lines[1].get_ydata()) == [0, 0.9, 1]


def test_confusion_shows_counts_and_shares_of_the_true_class() -> None:
    figure = confusion_figure("t", [[30, 10], [0, 0]], ["a", "b"])
    said = words(figure)
    assert "75 %" in said
    assert "25 %" in said
    shades = figure.axes[0].images[0].get_array()
    assert shades.tolist() == [[0.75, 0.25], [0.0, 0.0]]


def test_confusion_of_many_classes() -> None:
    names = [f"a long class name {k}" for k in range(14)]
    words(confusion_figure("t", [[k] * 14 for k in range(14)], names))


def test_shift_bars_have_the_values_and_missing_ones_are_named() -> None:
    bars = Bars(["biased", "deceiving"], {"isnet": [0.8, 0.75], "std": [1.0, None]}, "AUC")
    figure = shift_figure(bars)
    assert heights(figure) == [0.8, 0.75, 1.0, 0]
    said = words(figure)
    assert all(word in said for word in ("isnet", "std", "biased", "0.75", "n/a"))


def test_reliance_marks_the_95th_percentile() -> None:
    bars = Bars(["test"], {"isnet": [0.2]}, "share", marks={"isnet": [0.5]}, mark_label="p95")
    figure = reliance_figure(bars)
    assert heights(figure) == [0.2]
    assert any(list(line.get_ydata()) == [0.5, 0.5] for line in figure.axes[0].lines)
    assert "p95" in words(figure)


@pytest.mark.parametrize(
    "make",
    [
        lambda: roc_figure(HOSTILE, [Roc(HOSTILE, [0, 1], [0, 1], 0.5)]),
        lambda: confusion_figure(HOSTILE, [[1, 2], [3, 4]], [HOSTILE, "b"]),
        lambda: shift_figure(Bars([HOSTILE], {HOSTILE: [0.5]}, HOSTILE)),
    ],
)
def test_hostile_names_are_letters_and_nothing_else(make: Callable[[], Figure]) -> None:
    text = svg_text(make())
    assert "<script" not in text
    assert "$" in words(make())  # no formula was made of it


def test_svg_is_the_same_each_time_and_bare() -> None:
    def make() -> str:
        return svg_text(shift_figure(Bars(["a", "b"], {"m": [0.1, 0.2]}, "F1")))

    first = make()
    assert first == make()
    assert "<dc:date>" not in first
    assert "atplotlib v" not in first


def test_figures_stand_inside_tall_bars_with_marks_and_above_short_ones() -> None:
    bars = Bars(["t"], {"m": [0.5], "n": [0.02]}, "x", marks={"m": [0.7], "n": [0.3]})
    tall, low = reliance_figure(bars).axes[0].texts
    assert (tall.get_va(), tall.xy[1]) == ("top", 0.5)
    assert (low.get_va(), low.xy[1]) == ("bottom", 0.3)


def test_one_loss_is_drawn_once() -> None:
    rows = [{"epoch": 1, "train_loss": 0.5, "train_classification": 0.5}]
    assert list(list_quantities(rows)) == ["Loss"]
    assert len(list_quantities([*rows, {"epoch": 2, "train_loss": 0.9}])) == 2


def test_no_pyplot() -> None:
    code = (
        "import sys\n"
        "from isnet_cli.output.figures import Bars, shift_figure\n"
        "shift_figure(Bars(['a'], {'m': [0.1]}, 'F1'))\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("cell", "value"),
    [("0.5", 0.5), ("", None), (None, None), ("nan", None), ("inf", None), ("x", None), (3, 3.0)],
)
def test_number(cell: str | float | None, value: float | None) -> None:
    assert number(cell) == value


def test_shortening() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefgh", 5) == "ab…gh"
    assert all(len(line) <= 10 for line in wrap_text("a-very-long-word " * 9, 10, 3).split("\n"))
    assert len(wrap_text("one two three four five six", 5, 2).split("\n")) == 2


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


def test_a_line_a_run_with_its_interval() -> None:
    (axes,) = spans_figure("macro AUC", {"test": ROWS}).axes
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert lines == [([0.6, 0.8], [1.0, 1.0]), ([0.7], [1.0]), ([0.9], [2.0])]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two", "three"]
    assert [text.get_text() for text in axes.texts] == ["n/a"]
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first run on top


def test_several_tests_are_named_and_apart() -> None:
    (axes,) = spans_figure("F1", {"a · biased": ROWS[:2], "b": ROWS[:2]}).axes
    assert [text.get_text() for text in axes.texts] == ["a · biased", "b"]
    assert list(axes.get_yticks()) == [1, 2, 4, 5]


def test_names_stay_names_and_the_same_data_give_the_same_picture() -> None:
    long = "<b>" + "x" * 60 + "$\\frac"
    text = svg_text(spans_figure("F1", {"t": [(long, (0.5, 0.4, 0.6))]}))
    assert text == svg_text(spans_figure("F1", {"t": [(long, (0.5, 0.4, 0.6))]}))
    assert "<b>" not in text
    assert "…" in text


def test_a_confusion_of_hundreds_of_classes_is_drawn() -> None:
    classes = [f"finding {number} {'of a long name ' * 20}" for number in range(300)]
    text = svg_text(confusion_figure("test", np.eye(300, dtype=int).tolist(), classes))
    assert "one of 19 classes is named" in text
    assert len(text) < 200_000
