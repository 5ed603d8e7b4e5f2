"""Scores of subgroups: by sex, age, view, device, source, or another column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isnet_cli.output.figures import Estimate, Forest, number
from isnet_cli.report.blocks import Block, Grid, Picture, Section, Table, Text
from isnet_cli.report.results import RunResults, find_cell
from isnet_cli.report.sections.deltas import draw_forest, read_estimate
from isnet_cli.report.wording import (
    METRICS_FILE,
    format_change,
    format_interval,
    format_p,
    list_run_cells,
    list_run_heads,
)

Content = Mapping[str, Any]
SCORES: Mapping[str, tuple[str, ...]] = {
    "macro AUC": ("macro", "auc"),
    "macro F1": ("macro", "f1"),
    "recall": ("macro", "recall"),
    "specificity": ("macro", "specificity"),
}
DRAWN = ("macro AUC", "macro F1")
GAPS = {"macro_auc": "gap of AUC", "macro_f1": "gap of F1"}
WHERE = f"{METRICS_FILE}: sets.<set>.standard.subgroups"
WORDS = (
    "The same images as above, by group; the thresholds are the same for all groups. A gap is the "
    "score of a group minus that of all other images whose group is known; its p is corrected for "
    "the number of groups of the set (Holm). A gap may come from the classifier, or from groups "
    "that differ in how ill they are: look at the number of images of each class, too."
)


def build_subgroup_sections(runs: Sequence[RunResults]) -> list[Section]:
    """One section, or none where no run was scored by groups."""
    found = list(_iterate_groups(runs))
    if not found:
        return []
    blocks: list[Block] = [Text(WORDS)]
    for place in dict.fromkeys((name, column) for _, name, column, _, _ in found):
        mine = [one for one in found if one[1:3] == place]
        blocks += [_tabulate(runs, place, mine), Grid(_draw(mine), least=400, sources=[WHERE])]
    blocks += [Text(text) for text in dict.fromkeys(_list_empty(runs))]
    return [Section("subgroups", "Subgroups", blocks, (METRICS_FILE,))]


Found = tuple[RunResults, str, str, str, Content]  # run, set, column, group, its entry


def _iterate_groups(runs: Sequence[RunResults]) -> Iterator[Found]:
    for run in runs:
        for name, version in run.tests:
            by = run.scores((name, version)).get("subgroups") or {}
            for column, entry in by.items():
                for group, scores in entry["groups"].items():
                    yield run, name, column, group, scores


def _list_empty(runs: Sequence[RunResults]) -> Iterator[str]:
    """Columns of which no group can be shown, and why."""
    for run in runs:
        for test in run.tests:
            for column, entry in (run.scores(test).get("subgroups") or {}).items():
                if not entry["groups"]:
                    yield f"{test[0]}, by {column}: {entry.get('why') or 'no group is known'}."


def _tabulate(runs: Sequence[RunResults], place: tuple[str, str], found: Sequence[Found]) -> Table:
    name, column = place
    rows = []
    for run, _, _, group, entry in found:
        values = [
            format_interval(_value(entry, path), find_cell(entry, "intervals", *path))
            for path in SCORES.values()
        ]
        gaps = []
        for score in GAPS:
            cell = find_cell(entry, "gaps", score)
            gaps += [
                format_interval(number(cell.get("value")), cell, format_change),
                format_p({**cell, "p": cell.get("p_holm")}),
            ]
        counts = (str(entry["n"]), str(entry["patients"]))
        rows.append((group, *list_run_cells(runs, run), *counts, *values, *gaps))
    heads = [head for title in GAPS.values() for head in (title, "p (Holm)")]
    names = (column, *list_run_heads(runs))
    return Table(
        (*names, "images", "patients", *SCORES, *heads), rows, f"{name}, by {column}",
        numbers_from=len(names), notes=_explain(runs, place, found), sources=[WHERE],
    )  # fmt: skip


def _explain(
    runs: Sequence[RunResults], place: tuple[str, str], found: Sequence[Found]
) -> list[str]:
    """What is not shown, and why a gap has no interval."""
    name, column = place
    notes = []
    for run in runs:
        for test in run.tests:
            by = run.scores(test).get("subgroups") or {}
            if test[0] != name or column not in by:
                continue
            small, unknown = by[column]["suppressed"], by[column]["unknown"]
            if small["groups"]:
                notes.append(
                    f"{run.name}: {small['groups']} groups with {small['images']} images together"
                    " are too small to be shown."
                )
            if unknown:
                notes.append(f"{run.name}: the group of {unknown} images is not known.")
    reasons = {
        str(cell["why"])
        for *_, entry in found
        for cell in entry["gaps"].values()
        if cell.get("why")
    }
    return [*notes, *(f"Gaps without an interval: {why}." for why in sorted(reasons))]


def _draw(found: Sequence[Found]) -> list[Picture]:
    groups = list(dict.fromkeys(group for *_, group, _ in found))
    names = dict.fromkeys(run.name for run, *_ in found)
    first, name = found[0][:2]
    pictures = []
    for title in DRAWN:
        path = SCORES[title]
        points: dict[str, list[Estimate | None]] = {n: [None] * len(groups) for n in names}
        for run, _, _, group, entry in found:
            cell = {**find_cell(entry, "intervals", *path), "value": _value(entry, path)}
            points[run.name][groups.index(group)] = read_estimate(cell)
        whole = _value(first.scores((name, "standard")), path)
        label = f"{title} (dotted: all images{f' of {first.name}' if len(names) > 1 else ''})"
        line = 0.5 if whole is None else whole
        pictures.append(draw_forest(Forest(groups, points, label, line=line)))
    return pictures


def _value(entry: Content, path: Sequence[str]) -> float | None:
    found: Any = entry
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return number(found)
