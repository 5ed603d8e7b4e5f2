"""Scores of several runs with their intervals, and their spread over seeds beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.output.plotting import data_uri, svg_text
from isnet_cli.output.spans import spans_figure
from isnet_cli.report.compare.text import (
    HEADS,
    SCORES,
    Content,
    figure,
    reasons,
    title,
)
from isnet_cli.report.document import Block, Fold, Grid, Notice, Picture, Section, Table, Text

RATES = {
    "precision": "precision", "recall": "recall", "specificity": "specificity", "f1": "F1",
    "auc": "AUC", "ap": "avg. precision",
}  # fmt: skip
DRAWN = ("macro_f1", "macro_auc")
SEEDED = ("macro_f1", "macro_auc", "balanced_accuracy")


def scores_section(content: Content, stem: str) -> Section:
    """All scores of every run on every test.

    Args:
        content: The comparison.
        stem: Name of the files without its ending.
    """
    words = (
        "In brackets 95 % intervals over the images that happened to be tested. Two intervals that "
        "overlap do not say that runs are alike: the paired tests below look at the same images."
    )
    blocks: list[Block] = [
        Text(words),
        Grid([_spans(content, name) for name in DRAWN], least=400),
        _scores(content),
        Fold("Scores of each class", _per_class(content)),
    ]
    return Section("scores", "Scores", blocks, (f"{stem}.json", f"{stem}_scores.csv"))


def _spans(content: Content, name: str) -> Picture:
    tests = {
        title(content, test): [
            (run, _span(found["scores"][name])) for run, found in test["runs"].items()
        ]
        for test in content["tests"]
    }
    text = svg_text(spans_figure(SCORES[name], tests))
    said = "; ".join(
        f"{title(content, test)}: "
        + ", ".join(f"{run} {figure(own['scores'][name])}" for run, own in test["runs"].items())
        for test in content["tests"]
    )
    uri = data_uri(text.encode(), "image/svg+xml")
    return Picture(uri, f"{SCORES[name]} with intervals. {said}")


def _span(cell: Content) -> tuple[float | None, float | None, float | None]:
    return cell["value"], cell["low"], cell["high"]


def _scores(content: Content) -> Table:
    rows, why = [], []
    for test in content["tests"]:
        for run, found in test["runs"].items():
            figures = [figure(found["scores"][name]) for name in SCORES]
            rows.append((title(content, test), run, str(test["labelled"]), *figures))
            where = f"{title(content, test)}, {run}"
            why += [
                (f"{where}, {words}", found["scores"][name]["why"])
                for name, words in SCORES.items()
            ]
    columns = ("test", "run", "images", *SCORES.values())
    notes = ["The Brier score is better when it is lower.", *reasons(why)]
    return Table(columns, rows, numbers_from=HEADS, notes=notes)


def _per_class(content: Content) -> Table:
    rows = [
        (
            title(content, test), run, label, _count(entry["positives"]),
            *(figure(entry[rate]) for rate in RATES),
        )
        for test in content["tests"]
        for run, found in test["runs"].items()
        for label, entry in found["per_class"].items()
    ]  # fmt: skip
    columns = ("test", "run", "class", "images", *RATES.values())
    return Table(columns, rows, numbers_from=HEADS + 1)


def _count(value: Any) -> str:
    return "n/a" if value is None else str(value)


def seeds_section(content: Content, stem: str) -> Section:
    """Mean and spread over trainings with other seeds, each run's own interval beside them."""
    groups = content["seeds"]
    if not groups:
        words = (
            "No two runs differ in their seed alone, so nothing can be said about chance in "
            "training: each run is one training."
        )
        return Section("seeds", "Several seeds", [Notice(words, "empty")])
    blocks: list[Block] = [
        Text(
            "Runs whose settings differ in the seed alone are trainings of the same method. Their "
            "standard deviation (n \N{MINUS SIGN} 1) says how much a result depends on chance in "
            "training; the interval of one run says how much depends on the images that happened "
            "to be tested. Neither contains the other, so they stand on lines of their own."
        ),
        *(_seeds(content, group) for group in groups),
    ]
    lacking = [run["name"] for run in content["runs"] if run["settings"] is None]
    if lacking:
        blocks.append(Text(f"Without a partner of other seed: {', '.join(lacking)}."))
    return Section("seeds", "Several seeds", blocks, (f"{stem}.json", f"{stem}_seeds.csv"))


def _seeds(content: Content, group: Content) -> Table:
    tests = {(test["set"], test["version"]): test["runs"] for test in content["tests"]}
    rows: list[tuple[str, ...]] = []
    for test in group["tests"]:
        where = title(content, test)
        for run, seed in zip(group["runs"], group["seeds"], strict=True):
            own = tests[test["set"], test["version"]][run]["scores"]
            figures = [figure(own[name]) for name in SEEDED]
            rows.append((where, f"{run}, seed {seed}", *figures))
        figures = [_spread(test["figures"][name]) for name in SEEDED]
        rows.append((where, f"mean, s.d. of {len(group['runs'])} seeds", *figures))
    columns = ("test", "training", *(SCORES[name] for name in SEEDED))
    return Table(columns, rows, f"{group['name']}: {_said(group)}", numbers_from=HEADS)


def _said(group: Mapping[str, Sequence[Any]]) -> str:
    return f"seeds {', '.join(map(str, group['seeds']))}"


def _spread(cell: Content) -> str:
    if cell["mean"] is None:
        return "n/a"
    return f"{cell['mean']:.3f}, s.d. " + ("n/a" if cell["sd"] is None else f"{cell['sd']:.3f}")
