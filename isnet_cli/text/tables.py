"""Tables of text for terminals: columns that align whatever the letters are, names cut to size."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from isnet_cli.text.forms import cut_middle, for_line

LONGEST = 48  # characters of a cell; a name may be longer
HEAD = 20  # of the name of a column of counts, where there is little room
WIDE = 110  # columns of letters from which a table of counts is turned


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns of text, the first ones to the left and the others to the right.

    Args:
        head: Names of the columns.
        rows: Cells, as many as names; each stands on one line, without control characters.
        left: How many columns are names.
    """
    cells = [[shorten(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(measure, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            _pad(cell, width, left=place < left)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def format_counts(table: Mapping[str, Mapping[str, int]], corner: str) -> list[str]:
    """A table of counts as lines of text, turned or with shorter heads where it is too wide.

    Args:
        table: Row -> column -> count; the columns are sorted.
        corner: What the rows are.
    """
    columns = sorted({name for counts in table.values() for name in counts})
    rows = [[name, *(str(counts.get(c, 0)) for c in columns)] for name, counts in table.items()]
    lines = format_table([corner, *columns], rows).splitlines()
    if _is_wide(lines):
        turned = [list(line) for line in zip(columns, *(row[1:] for row in rows), strict=True)]
        other = format_table(["", *(row[0] for row in rows)], turned).splitlines()
        lines = min(lines, other, key=lambda found: max(map(measure, found)))
        if _is_wide(lines):
            heads = [cut_middle(for_line(row[0]), HEAD) for row in rows]
            lines = format_table(["", *heads], turned).splitlines()
    return lines


def _is_wide(lines: Sequence[str]) -> bool:
    return max(map(measure, lines)) > WIDE


def measure(text: str) -> int:
    """Columns of a terminal that `text` takes: two for wide letters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def shorten(name: str) -> str:
    """A name on one line of a table: no control characters, at most `LONGEST` letters."""
    return cut_middle(for_line(name), LONGEST)


def _pad(cell: str, width: int, *, left: bool) -> str:
    blanks = " " * (width - measure(cell))
    return cell + blanks if left else blanks + cell
