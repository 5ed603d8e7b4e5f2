"""Words of a comparison."""

from __future__ import annotations

import pytest

from compare_content import cell, content, one_test
from isnet_cli.export.sections.compare_text import cells, heads, p_text, ranged, reasons, title


def test_figures_with_and_without_interval() -> None:
    assert ranged(cell(0.7)) == "0.700 [0.650, 0.750]"
    assert ranged(cell(0.01), signed=True) == "+0.010 [-0.040, +0.060]"
    assert ranged(cell(0.7, None), 2) == "0.70"
    assert ranged(cell(None)) == "n/a"


@pytest.mark.parametrize(
    ("p", "text"), [(None, "n/a"), (0.0, "<\xa00.001"), (0.00099, "<\xa00.001"), (0.049, "0.049")]
)
def test_p_values(p: float | None, text: str) -> None:
    assert p_text(p) == text


def test_versions_are_named_where_there_are_any() -> None:
    plain, biased = content(), content(tests=[one_test(0.5, "biased"), one_test(0.5)])
    assert (heads(plain), title(plain, plain["tests"][0])) == (("test set",), "test")
    assert heads(biased) == ("test set", "version")
    assert cells(biased, biased["tests"][0]) == ("test", "biased")
    assert title(biased, biased["tests"][0]) == "test · biased"


def test_reasons_are_told_once_with_their_places() -> None:
    assert reasons([("a", "no film"), ("b", None), ("c", "no film"), ("a", "no film")]) == [
        "No film: a; c."
    ]
    assert reasons([(str(i), "x") for i in range(9)]) == ["X: 0; 1; 2; 3; 4; 5; and 3 more."]
