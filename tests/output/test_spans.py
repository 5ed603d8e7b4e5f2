"""Points and intervals: where they lie, and what is written beside them."""

from __future__ import annotations

from isnet_cli.output.plotting import svg_text
from isnet_cli.output.spans import spans_figure

ROWS = [("one", (0.7, 0.6, 0.8)), ("two", (0.9, None, None)), ("three", (None, None, None))]


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
