"""Figures of the long trials, printed at the end of the test run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Figures:
    """Lines for the end of the run, in Markdown, as docs/trust.md has them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Adds one line."""
        self.lines += [line, ""]

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds a table under a title."""
        self.lines += [f"### {title}", "", _row(columns), _row(["---"] * len(columns))]
        self.lines += [*(_row(row) for row in rows), ""]


def _row(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
