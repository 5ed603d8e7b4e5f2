"""Words of a comparison: names of its scores and tests, figures with their intervals, reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.report.cells import ranged, signed

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
    "full": "whole image",
    "lungs_only": "lungs only",
    "lungs_removed": "lungs removed",
    "other_class": "other class",
    "same_class": "same class",
}
HEADS = 2  # first columns of most tables: the test, the run


def names_of(content: Content) -> list[str]:
    """Names of the runs."""
    return [str(run["name"]) for run in content["runs"]]


def versioned(content: Content) -> bool:
    """Whether any test is of another version than the standard one."""
    return any(test["version"] != "standard" for test in content["tests"])


def title(content: Content, where: Content) -> str:
    """What a test is called: its version is named where there are several."""
    return f"{where['set']} · {where['version']}" if versioned(content) else str(where["set"])


def figure(cell: Content) -> str:
    """A figure with its interval where there is one; ``n/a`` for none."""
    return ranged(cell["value"], cell)


def difference(cell: Content) -> str:
    """The same of a difference, with its sign."""
    return ranged(cell["value"], cell, signed)


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
