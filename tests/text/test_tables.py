"""Tables of text: they align, whatever the letters are, and fit the screen."""

from __future__ import annotations

from isnet_cli.text.tables import LONGEST, format_counts, format_table, measure


def test_a_table() -> None:
    assert (
        format_table(["a", "bb"], [["long", "1"], ["x", "222"]])
        == "a      bb\nlong    1\nx     222"
    )
    assert format_table(["a", "b"], [["x", "y"]], left=2) == "a  b\nx  y"


def test_wide_letters_and_marks_align() -> None:
    lines = format_table(["class", "n"], [["肺炎", "1"], ["e\u0301", "2"], ["x", "3"]]).split("\n")
    assert len({measure(line) for line in lines}) == 1


def test_a_cell_neither_acts_nor_ends_its_line() -> None:
    text = format_table(["class", "n"], [["a\x1b[2J\nb", "1"], ["y" * 400, "2"]])
    assert text.count("\n") == 2
    assert "\x1b" not in text
    assert max(map(len, text.split("\n"))) == LONGEST + 3


def test_a_wide_table_of_counts_is_turned() -> None:
    few = {"train": {"a": 1, "b": 2}, "test": {}}
    assert format_counts(few, "set") == ["set    a  b", "train  1  2", "test   0  0"]
    many = {"train": {f"finding {i:03}": i for i in range(300)}, "test": {}}
    lines = format_counts(many, "set")
    assert len(lines) == 301
    assert lines[0].split() == ["train", "test"]
    assert lines[8].split() == ["finding", "007", "7", "0"]
