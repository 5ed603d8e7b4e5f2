"""Subgroups of several runs beside each other: each run's score, and its worst group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.report.blocks import Block, Section, Table, Text
from isnet_cli.report.results import RunResults, find_cell
from isnet_cli.report.wording import format_interval

Content = Mapping[str, Any]
Entry = dict[str, Any]
SCORES = {"macro_auc": ("macro", "auc"), "macro_f1": ("macro", "f1")}
TITLES = {"macro_auc": "macro AUC", "macro_f1": "macro F1"}
WORDS = (
    "Scores of each run in each group of images, with 95 % intervals. The worst group of a run is "
    "the one with its lowest score; the range is from there to its highest. Groups are not tested "
    "against each other here: each run's report has its gaps with their p."
)


def collect_subgroups(runs: Sequence[RunResults], tests: Sequence[tuple[str, str]]) -> list[Entry]:
    """One entry for each set, column and group that a run was scored in.

    Returns:
        ``set``, ``column``, ``group``, ``runs``: name -> ``{n, macro_auc, macro_f1}``, each score
        a cell ``{value, low, high}``.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for run in runs:
        for test in tests:
            for column, by in (run.scores(test).get("subgroups") or {}).items():
                for group, entry in by["groups"].items():
                    own = {name: _cell(entry, path) for name, path in SCORES.items()}
                    found.setdefault((test[0], column, group), {})[run.name] = {
                        "n": entry["n"], **own,
                    }  # fmt: skip
    return [
        {"set": name, "column": column, "group": group, "runs": own}
        for (name, column, group), own in found.items()
    ]


def _cell(entry: Content, path: tuple[str, str]) -> dict[str, float | None]:
    cell = find_cell(entry, "intervals", *path)
    return {
        "value": entry[path[0]].get(path[1]), "low": cell.get("low"), "high": cell.get("high")
    }  # fmt: skip


def build_subgroup_sections(content: Content, stem: str) -> list[Section]:
    """One section, or none where no run was scored by groups."""
    entries: Sequence[Entry] = content.get("subgroups", ())
    if not entries:
        return []
    blocks: list[Block] = [Text(WORDS), *(_tabulate(entries, score) for score in SCORES)]
    return [Section("subgroups", "Subgroups", blocks, (f"{stem}.json",))]


def _tabulate(entries: Sequence[Entry], score: str) -> Table:
    names = list(dict.fromkeys(name for entry in entries for name in entry["runs"]))
    rows: list[tuple[str, ...]] = []
    for where in dict.fromkeys((entry["set"], entry["column"]) for entry in entries):
        mine = [entry for entry in entries if (entry["set"], entry["column"]) == where]
        rows += [
            (*where, entry["group"], *(_format(entry["runs"].get(name), score) for name in names))
            for entry in mine
        ]
        rows.append((*where, "worst and range", *(_range(mine, name, score) for name in names)))
    return Table(("test", "by", "group", *names), rows, TITLES[score], numbers_from=3)


def _format(own: Content | None, score: str) -> str:
    return "n/a" if own is None else format_interval(own[score]["value"], own[score])


def _range(entries: Sequence[Entry], name: str, score: str) -> str:
    values = {
        entry["group"]: entry["runs"][name][score]["value"]
        for entry in entries
        if name in entry["runs"] and entry["runs"][name][score]["value"] is not None
    }
    if not values:
        return "n/a"
    worst = min(values, key=lambda group: values[group])
    return f"{worst}: {values[worst]:.3f} to {max(values.values()):.3f}"
