"""Sections of a comparison: scores, paired tests, several seeds, reliance on the background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from isnet_cli.output.figures import spans_figure
from isnet_cli.report.blocks import Block, Fold, Grid, Notice, Picture, Section, Table, Text
from isnet_cli.report.drawings import embed_figure
from isnet_cli.report.wording import format_change, format_interval, format_p, format_percent

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
RATES = {
    "precision": "precision", "recall": "recall", "specificity": "specificity", "f1": "F1",
    "auc": "AUC", "ap": "avg. precision",
}  # fmt: skip
DRAWN = ("macro_f1", "macro_auc")
SEEDED = ("macro_f1", "macro_auc", "balanced_accuracy")
SHOWN = ("macro_f1", "macro_auc")  # the others are folded
LONG = 40  # lines of a table that is shown unasked


def list_run_names(content: Content) -> list[str]:
    """Names of the runs."""
    return [str(run["name"]) for run in content["runs"]]


def shows_versions(content: Content) -> bool:
    """Whether any test is of another version than the standard one."""
    return any(test["version"] != "standard" for test in content["tests"])


def name_test(content: Content, where: Content) -> str:
    """What a test is called: its version is named where there are several."""
    return f"{where['set']} · {where['version']}" if shows_versions(content) else str(where["set"])


def format_figure(cell: Content) -> str:
    """A figure with its interval where there is one; ``n/a`` for none."""
    return format_interval(cell["value"], cell)


def format_difference(cell: Content) -> str:
    """The same of a difference, with its sign."""
    return format_interval(cell["value"], cell, format_change)


def format_count(count: int, noun: str) -> str:
    """``1 comparison``, ``3 comparisons``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def list_reasons(found: Sequence[tuple[str, str | None]]) -> list[str]:
    """One sentence for each reason, with the places where it holds.

    Args:
        found: (where, why), why None where there is nothing to explain.
    """
    places: dict[str, list[str]] = {}
    for where, why in found:
        if why and where not in places.setdefault(why, []):
            places[why].append(where)
    return [f"{_capitalise(why)}: {_join_names(names)}." for why, names in places.items()]


def _capitalise(text: str) -> str:
    """With a capital, unless it begins with the key of a setting."""
    return text if "." in text.split(" ", 1)[0] else text[0].upper() + text[1:]


def _join_names(names: Sequence[str]) -> str:
    most = 6
    shown = "; ".join(names[:most])
    return shown if len(names) <= most else f"{shown}; and {len(names) - most} more"


def build_scores_section(content: Content, stem: str) -> Section:
    """All scores of every run on every test.

    Args:
        content: The comparison.
        stem: Name of the files without its ending.
    """
    words = (
        "In brackets 95 % intervals over the images that happened to be tested. Overlapping "
        "intervals do not mean that two runs are alike: the paired tests below use the same images."
    )
    blocks: list[Block] = [
        Text(words),
        Grid([_draw_spans(content, name) for name in DRAWN], least=400),
        _tabulate_scores(content),
        Fold("Scores of each class", _tabulate_classes(content)),
    ]
    return Section("scores", "Scores", blocks, (f"{stem}.json", f"{stem}_scores.csv"))


def _draw_spans(content: Content, name: str) -> Picture:
    tests = {
        name_test(content, test): [
            (run, _read_span(found["scores"][name])) for run, found in test["runs"].items()
        ]
        for test in content["tests"]
    }
    figures = "; ".join(
        f"{name_test(content, test)}: "
        + ", ".join(
            f"{run} {format_figure(own['scores'][name])}" for run, own in test["runs"].items()
        )
        for test in content["tests"]
    )
    figure = spans_figure(SCORES[name], tests)
    return embed_figure(figure, f"{SCORES[name]} with intervals. {figures}")


def _read_span(cell: Content) -> tuple[float | None, float | None, float | None]:
    return cell["value"], cell["low"], cell["high"]


def _tabulate_scores(content: Content) -> Table:
    rows, why = [], []
    for test in content["tests"]:
        for run, found in test["runs"].items():
            figures = [format_figure(found["scores"][name]) for name in SCORES]
            rows.append((name_test(content, test), run, str(test["labelled"]), *figures))
            where = f"{name_test(content, test)}, {run}"
            why += [
                (f"{where}, {words}", found["scores"][name]["why"])
                for name, words in SCORES.items()
            ]
    columns = ("test", "run", "images", *SCORES.values())
    notes = ["The Brier score is better when it is lower.", *list_reasons(why)]
    return Table(columns, rows, numbers_from=HEADS, notes=notes)


def _tabulate_classes(content: Content) -> Table:
    rows = [
        (
            name_test(content, test), run, label, _format_count(entry["positives"]),
            *(format_figure(entry[rate]) for rate in RATES),
        )
        for test in content["tests"]
        for run, found in test["runs"].items()
        for label, entry in found["per_class"].items()
    ]  # fmt: skip
    columns = ("test", "run", "class", "images", *RATES.values())
    return Table(columns, rows, numbers_from=HEADS + 1)


def _format_count(value: Any) -> str:
    return "n/a" if value is None else str(value)


def build_seeds_section(content: Content, stem: str) -> Section:
    """Mean and spread over trainings with other seeds, each run's own interval beside them."""
    groups = content["seeds"]
    if not groups:
        words = (
            "No two runs differ in their seed alone. This page therefore says nothing about chance "
            "in training: each run is one training."
        )
        return Section("seeds", "Several seeds", [Notice(words, "empty")])
    blocks: list[Block] = [
        Text(
            "Runs whose settings differ in the seed alone are trainings of the same method. Their "
            "standard deviation (n \N{MINUS SIGN} 1) says how much a result depends on chance in "
            "training; the interval of one run says how much depends on the images that happened "
            "to be tested. Neither contains the other, so they stand on lines of their own."
        ),
        *(_tabulate_seeds(content, group) for group in groups),
    ]
    lacking = [run["name"] for run in content["runs"] if run["settings"] is None]
    if lacking:
        blocks.append(Text(f"Without a run of another seed: {', '.join(lacking)}."))
    return Section("seeds", "Several seeds", blocks, (f"{stem}.json", f"{stem}_seeds.csv"))


def _tabulate_seeds(content: Content, group: Content) -> Table:
    tests = {(test["set"], test["version"]): test["runs"] for test in content["tests"]}
    rows: list[tuple[str, ...]] = []
    for test in group["tests"]:
        where = name_test(content, test)
        for run, seed in zip(group["runs"], group["seeds"], strict=True):
            own = tests[test["set"], test["version"]][run]["scores"]
            figures = [format_figure(own[name]) for name in SEEDED]
            rows.append((where, f"{run}, seed {seed}", *figures))
        figures = [_format_spread(test["figures"][name]) for name in SEEDED]
        rows.append((where, f"mean, s.d. of {len(group['runs'])} seeds", *figures))
    columns = ("test", "training", *(SCORES[name] for name in SEEDED))
    return Table(columns, rows, f"{group['name']}: {_list_seeds(group)}", numbers_from=HEADS)


def _list_seeds(group: Mapping[str, Sequence[Any]]) -> str:
    return f"seeds {', '.join(map(str, group['seeds']))}"


def _format_spread(cell: Content) -> str:
    if cell["mean"] is None:
        return "n/a"
    return f"{cell['mean']:.3f}, s.d. " + ("n/a" if cell["sd"] is None else f"{cell['sd']:.3f}")


def build_tests_section(content: Content, stem: str) -> Section:
    """Differences of all pairs on all tests, one table a score."""
    found = content["comparisons"]
    sources = (f"{stem}.json", f"{stem}_tests.csv")
    if not found["pairs"]:
        words = "No test has labels, so there is nothing to compare but where the models look."
        return Section("tests", "Paired tests", [Notice(words, "empty")])
    size, alpha = found["family_size"], found["alpha"]
    blocks: list[Block] = [
        Text(
            "Each line is the second run minus the first on the same images. AUC: DeLong's paired "
            f"test. All other scores: {found['draws']} bootstrap draws of patients, the same for "
            "both runs. p is two-sided and not corrected."
        ),
        Text(
            f"p (Holm) is corrected for the {format_count(size, 'comparison')} of its score. The "
            f"family: {found['family']}. The chance of any false difference in one score's family "
            f"is held at {100 * alpha:g} %; the scores are not corrected for each other, so choose "
            "the score that decides before looking."
        ),
        Text(_summarise_tests(content)),
        *(_show_differences(content, name) for name in SCORES),
        Notice(
            "A test of two runs is about these two trained models. Whether one method is better "
            "than another needs several trainings of each (see Several seeds).",
            "info",
        ),
    ]
    return Section("tests", "Paired tests", blocks, sources)


def _summarise_tests(content: Content) -> str:
    found = content["comparisons"]
    parts = []
    for name in SHOWN:
        values = [pair["differences"][name]["p_holm"] for pair in found["pairs"]]
        count = sum(p is not None and p <= found["alpha"] for p in values)
        parts.append(f"{count} of {len(values)} in {SCORES[name]}")
    return f"Significant at {100 * found['alpha']:g} % after the correction: {', '.join(parts)}."


def _show_differences(content: Content, name: str) -> Block:
    table = _tabulate_differences(content, name)
    if name in SHOWN and len(table.rows) <= LONG:
        return replace(table, caption=f"Differences of {SCORES[name]}")
    return Fold(f"Differences of {SCORES[name]}", table)


def _tabulate_differences(content: Content, name: str) -> Table:
    rows: list[Sequence[str]] = []
    why = []
    for pair in content["comparisons"]["pairs"]:
        cell = pair["differences"][name]
        p = cell["p_holm"]
        verdict = "no" if p is None or p > content["comparisons"]["alpha"] else "yes"
        names = f"{pair['second']} \N{MINUS SIGN} {pair['first']}"
        figures = (format_difference(cell), format_p(cell), format_p({"p": p}), verdict)
        rows.append((name_test(content, pair), names, *figures))
        where = f"{name_test(content, pair)}, {pair['first']} and {pair['second']}"
        why.append((where, cell.get("why")))
    columns = ("test", "runs", "difference", "p", "p (Holm)", "significant")
    return Table(columns, rows, numbers_from=HEADS, notes=list_reasons(why))


def build_reliance_section(content: Content, stem: str) -> Section:
    """Behaviour on cut and pasted images first, then where the relevance lies."""
    found = [own["reliance"] for test in content["tests"] for own in test["runs"].values()]
    blocks: list[Block] = []
    if any(one["n"] for one in found):
        blocks += [
            Text(
                "The same images whole, cut, and pasted on the background of another image, of "
                "another class or of the same one. A macro AUC above 0.5 with the lungs removed "
                "means that the model reads the class from the background. Flips: share of images "
                "whose prediction changes on the background of another class. Gap: score on "
                "backgrounds of the same class minus the score on backgrounds of another class; 0 "
                "for a model that ignores the background."
            ),
            _tabulate_variants(content),
            _tabulate_behaviour(content),
        ]
    else:
        why = list_reasons(
            [(name_test(content, t), r["reliance"]["why"]) for t, _, r in _iterate_runs(content)]
        )
        blocks.append(Notice(" ".join(["No image was cut and pasted.", *why]), "empty"))
    if any(one["outside"]["n"] for one in found):
        blocks += [
            Text(
                "Share of each map's absolute relevance outside the lung mask. A low share alone "
                "proves nothing: read it beside the figures above."
            ),
            _tabulate_outside(content),
        ]
    else:
        why = list_reasons(
            [
                (name_test(content, t), r["reliance"]["outside"]["why"])
                for t, _, r in _iterate_runs(content)
            ]
        )
        blocks.append(Notice(" ".join(["No relevance was measured.", *why]), "empty"))
    if any(one["findings"]["n"] for one in found):
        blocks.append(_tabulate_findings(content))
    sources = (f"{stem}.json", f"{stem}_reliance.csv")
    return Section("reliance", "Reliance on the background", blocks, sources)


def _iterate_runs(content: Content) -> list[tuple[Content, str, Content]]:
    return [(test, run, own) for test in content["tests"] for run, own in test["runs"].items()]


def _tabulate_variants(content: Content) -> Table:
    rows, why = [], []
    for test, run, own in _iterate_runs(content):
        found = own["reliance"]
        figures = [format_figure(found["auc"][name]) for name in VARIANTS]
        rows.append((name_test(content, test), run, str(found["n"]), *figures))
        where = f"{name_test(content, test)}, {run}"
        why += [(f"{where}, {words}", found["auc"][v]["why"]) for v, words in VARIANTS.items()]
    groups = [("", HEADS + 1), ("macro AUC", len(VARIANTS))]
    columns = ("test", "run", "images", *VARIANTS.values())
    return Table(columns, rows, numbers_from=HEADS, groups=groups, notes=list_reasons(why))


def _tabulate_behaviour(content: Content) -> Table:
    rows, why = [], []
    for test, run, own in _iterate_runs(content):
        found = own["reliance"]
        gaps = [format_difference(found[name]) for name in ("gap_f1", "gap_auc")]
        rows.append((name_test(content, test), run, format_figure(found["flips"]), *gaps))
        where = f"{name_test(content, test)}, {run}"
        why += [(where, found[name]["why"]) for name in ("flips", "gap_f1", "gap_auc")]
    columns = ("test", "run", "flips", "gap of macro F1", "gap of macro AUC")
    caption = "What exchanged backgrounds change"
    return Table(columns, rows, caption, numbers_from=HEADS, notes=list_reasons(why))


def _tabulate_findings(content: Content) -> Table:
    rows, why = [], []
    for test, run, own in _iterate_runs(content):
        found = own["reliance"]["findings"]
        names = ("pointing", "inside_share", "ratio")
        pointing, inside, ratio = (format_figure(found[name]) for name in names)
        figures = (str(found["n"]), pointing, format_percent(found["chance"]), inside, ratio)
        rows.append((name_test(content, test), run, *figures))
        why += [(f"{name_test(content, test)}, {run}", found[name]["why"]) for name in names]
    columns = (
        "test",
        "run",
        "findings",
        "strongest place on it",
        "chance",
        "relevance on it",
        "ratio",
    )
    caption = "Maps against annotated findings"
    return Table(columns, rows, caption, numbers_from=HEADS, notes=list_reasons(why))


def _tabulate_outside(content: Content) -> Table:
    rows, why = [], []
    for test, run, own in _iterate_runs(content):
        found = own["reliance"]["outside"]
        count = str(found["n"] or 0)
        rows.append(
            (
                name_test(content, test),
                run,
                count,
                format_percent(found["mean"]),
                format_percent(found["p95"]),
            )
        )
        why.append((f"{name_test(content, test)}, {run}", found["why"]))
    columns = ("test", "run", "images", "mean", "95th percentile")
    caption = "Relevance outside the lungs"
    return Table(columns, rows, caption, numbers_from=HEADS, notes=list_reasons(why))
