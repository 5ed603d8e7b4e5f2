"""Lettering: fits its width, survives hostile file names."""

import pytest

from isnet_cli.output.lettering import fit, font, wrap

NAMES = ["a" * 500, "normal", "", "été/結核.dcm", "x\ny\tz", "bad\udcff\x00name"]


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("width", [0, 40, 300])
def test_fit_never_exceeds_the_width(text: str, width: int) -> None:
    letters = font(12)
    line = fit(text, letters, width)
    assert "\n" not in line
    assert line == "…" or letters.getlength(line) <= width


def test_fit_keeps_both_ends_of_a_path() -> None:
    line = fit("siteA/patient/study/series/IM000123.dcm", font(12), 150)
    assert line.startswith("siteA")
    assert line.endswith("123.dcm")
    assert "…" in line


def test_wrap_uses_all_words_or_shows_that_some_are_missing() -> None:
    letters = font(12)
    text = "one two three four five six seven eight nine ten"
    whole = wrap(text, letters, 120, 9)
    assert " ".join(whole) == text
    assert all(letters.getlength(line) <= 120 for line in whole)
    short = wrap(text, letters, 120, 2)
    assert len(short) == 2
    assert "…" in short[-1]
    assert wrap("", letters, 120, 2) == []


def test_bold_letters_are_wider() -> None:
    assert font(14, bold=True).getlength("mmm") > font(14).getlength("mmm")
