"""Figures as text: ranges, signs, p, and notes on how intervals came about or why there is none."""

import pytest

from isnet_cli.report.cells import Shown, notes_on, p_text, ranged, share_range, signed

CELL = {"value": 0.5, "low": 0.4, "high": 0.61, "method": "delong"}
GAP, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


def test_a_figure_with_and_without_its_interval() -> None:
    assert ranged(0.5, CELL) == "0.500 [0.400, 0.610]"
    assert ranged(0.5, {}) == ranged(0.5, {"low": None, "high": 0.6}) == "0.500"
    assert ranged(None, CELL) == "n/a"
    assert ranged(-0.1, {"low": -0.2, "high": 0}, signed) == f"{MINUS}0.100 [{MINUS}0.200, 0.000]"
    assert share_range(0.123, {"low": 0.1, "high": 0.2}) == f"12.3{GAP}% [10.0, 20.0]"
    assert share_range(None, {}) == "n/a"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (-0.0001, "0.000"), (0.25, "+0.250"), (-0.25, f"{MINUS}0.250"), (None, "n/a")],
)
def test_signs(value: float | None, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "<0.001"), (0.001, "0.001"), (1.0, "1.000"), (None, "n/a")]
)
def test_p(p: float | None, text: str) -> None:
    assert p_text({"p": p}) == text


def test_notes_name_methods_and_reasons_once() -> None:
    lacking = {"value": 0.3, "low": None, "high": None, "why": "one image"}
    shown = [Shown("t", "AUC", CELL), Shown("u", "AUC", CELL), Shown("t", "F1", lacking)]
    assert notes_on(shown) == [
        f"In brackets: 95{GAP}% intervals (AUC: DeLong).",
        "No interval for F1 (t): one image.",
    ]
    many = [Shown(where, "F1", lacking) for where in "abcd"]
    assert notes_on(many) == ["No interval for F1 (4 rows): one image."]
    assert notes_on([Shown("t", "F1", {}), Shown("t", "F1", {**lacking, "value": None})]) == []
