"""Scores of several runs that differ in their seed: the spread over trainings.

This spread says how much a result depends on chance in training; the interval of one run says how
much it depends on the images that happened to be tested. Neither contains the other, so the two
stand side by side and are never merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from isnet_cli.stats.sample import Path, read_values

ONE_RUN = "one run has no spread over runs"


def summarise_runs(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation of one score over runs.

    Args:
        values: One a run; None where it has none.

    Returns:
        ``runs`` (with a value), ``mean``, ``sd`` (n - 1; None for one run), ``least``,
        ``largest``; and ``why`` where something is None.
    """
    known = [value for value in values if value is not None]
    if not known:
        why = "no run has a value"
        return {"runs": 0, "mean": None, "sd": None, "least": None, "largest": None, "why": why}
    found: dict[str, Any] = {
        "runs": len(known), "mean": mean(known), "sd": stdev(known) if len(known) > 1 else None,
        "least": min(known), "largest": max(known),
    }  # fmt: skip
    if len(known) == 1:
        found["why"] = ONE_RUN
    return found


def summarise_scores_of_runs(metrics: Sequence[Mapping[str, Any]]) -> dict[Path, dict[str, Any]]:
    """`summarise_runs` of every score of one test, by path.

    Args:
        metrics: `scores` of each run on the same set in the same version.

    Raises:
        ValueError: When the runs have different classes, or there is none.
    """
    if not metrics or len({tuple(m["per_class"]) for m in metrics}) > 1:
        raise ValueError("expected runs of the same classes")
    values = [read_values(one) for one in metrics]
    return {path: summarise_runs([one[path] for one in values]) for path in values[0]}
