"""Figures with their 95 % intervals as text, how these were made, and why some have none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isnet_cli.output.figures import number
from isnet_cli.report.facts import figure_of, percent

Cell = Mapping[str, Any]
METHODS = {
    "dirichlet": "posterior of the confusion matrix",
    "beta": "posterior of the share",
    "delong": "DeLong",
    "newcombe": "Newcombe",
    "bootstrap": "bootstrap by patient",
    "bootstrap-logit": "bootstrap by patient, logit scale",
}
_PLACES = 3  # rows named in one note; more are counted


@dataclass(frozen=True)
class Shown:
    """One figure of a table.

    Attributes:
        where: The test and the run.
        name: The score.
        cell: ``{value, low, high, method}``, or ``why`` there is no interval; empty for none.
    """

    where: str
    name: str
    cell: Cell


def ranged(value: float | None, cell: Cell, say: Callable[[float | None], str] = figure_of) -> str:
    """``0.812 [0.745, 0.871]``; the figure alone where there is no interval."""
    low, high = number(cell.get("low")), number(cell.get("high"))
    if value is None or low is None or high is None:
        return say(value)
    return f"{say(value)} [{say(low)}, {say(high)}]"


def signed(value: float | None) -> str:
    """A difference with its sign, ``n/a`` for none."""
    if value is None:
        return "n/a"
    text = f"{value:+.3f}"
    return "0.000" if text[1:] == "0.000" else text.replace("-", "\N{MINUS SIGN}")


def p_text(cell: Cell) -> str:
    """A two-sided p as text."""
    p = number(cell.get("p"))
    if p is None:
        return "n/a"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def notes_on(shown: Iterable[Shown]) -> list[str]:
    """How the intervals of a table were made, and which figures have none and why."""
    methods: dict[str, list[str]] = {}
    reasons: dict[str, dict[str, list[str]]] = {}
    for item in shown:
        if number(item.cell.get("low")) is not None:
            names = methods.setdefault(str(item.cell.get("method", "unknown")), [])
            if item.name not in names:
                names.append(item.name)
        elif number(item.cell.get("value")) is not None:
            why = str(item.cell.get("why", "no reason is given"))
            reasons.setdefault(why, {}).setdefault(item.where, []).append(item.name)
    notes = []
    if methods:
        made = "; ".join(f"{', '.join(names)}: {METHODS.get(m, m)}" for m, names in methods.items())
        notes.append(f"In brackets: 95\N{NO-BREAK SPACE}% intervals ({made}).")
    return notes + [f"No interval for {_places(places)}: {why}." for why, places in reasons.items()]


def _places(places: Mapping[str, Sequence[str]]) -> str:
    """Scores and, when they are few, the rows that lack an interval."""
    groups: dict[str, list[str]] = {}
    for where, names in places.items():
        groups.setdefault(", ".join(dict.fromkeys(names)), []).append(where)
    return "; ".join(
        f"{names} ({'; '.join(rows) if len(rows) <= _PLACES else f'{len(rows)} rows'})"
        for names, rows in groups.items()
    )


def share_range(value: float | None, cell: Cell) -> str:
    """A share and its interval in per cent."""
    low, high = number(cell.get("low")), number(cell.get("high"))
    if value is None or low is None or high is None:
        return percent(value)
    return f"{percent(value)} [{100 * low:.1f}, {100 * high:.1f}]"
