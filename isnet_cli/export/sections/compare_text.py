"""Words of a comparison: names of its scores and tests, figures with their intervals, p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.export.facts import figure_of

Content = Mapping[str, Any]
SCORES = {
    "macro_f1": "macro F1",
    "macro_auc": "macro AUC",
    "macro_ap": "macro avg. precision",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier score",
}
VARIANTS = {
    "full": "whole film",
    "lungs_only": "lungs only",
    "lungs_removed": "lungs removed",
    "other_class": "other class",
    "same_class": "same class",
}


def names_of(content: Content) -> list[str]:
    """Names of the runs."""
    return [str(run["name"]) for run in content["runs"]]


def versioned(content: Content) -> bool:
    """Whether any test is of another version than the standard one."""
    return any(test["version"] != "standard" for test in content["tests"])


def heads(content: Content) -> tuple[str, ...]:
    """Heads of the columns that `cells` fills."""
    return ("test set", "version") if versioned(content) else ("test set",)


def cells(content: Content, where: Content) -> tuple[str, ...]:
    """What a test is called in the first columns of a table."""
    return (where["set"], where["version"]) if versioned(content) else (where["set"],)


def title(content: Content, where: Content) -> str:
    """What a test is called on one line."""
    return " · ".join(cells(content, where))


def ranged(cell: Content, digits: int = 3, *, signed: bool = False) -> str:
    """A figure with its interval where there is one; ``n/a`` for none."""
    value = cell.get("value")
    if value is None:
        return "n/a"
    sign = "+" if signed else ""
    text = f"{value:{sign}.{digits}f}"
    if cell.get("low") is None:
        return text
    return f"{text} [{cell['low']:{sign}.{digits}f}, {cell['high']:{sign}.{digits}f}]"


def p_text(p: float | None) -> str:
    """A p-value; never 0."""
    if p is None:
        return "n/a"
    return "<\N{NO-BREAK SPACE}0.001" if p < 0.001 else figure_of(p)


def counted(count: int, noun: str) -> str:
    """``1 comparison``, ``3 comparisons``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def reasons(found: Sequence[tuple[str, str | None]]) -> list[str]:
    """One sentence for each reason, with the places where it holds.

    Args:
        found: (where, why), why None where there is nothing to explain.
    """
    places: dict[str, list[str]] = {}
    for where, why in found:
        if why and where not in places.setdefault(why, []):
            places[why].append(where)
    return [f"{_begun(why)}: {_listed(names)}." for why, names in places.items()]


def _begun(text: str) -> str:
    """With a capital, unless it begins with the key of a setting."""
    return text if "." in text.split(" ", 1)[0] else text[0].upper() + text[1:]


def _listed(names: Sequence[str]) -> str:
    most = 6
    shown = "; ".join(names[:most])
    return shown if len(names) <= most else f"{shown}; and {len(names) - most} more"
