"""The figures of a comparison as one JSON-able document, and as tables of the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.report.compare.common_tests import LeftOut
from isnet_cli.report.compare.seeds import SeedGroup
from isnet_cli.report.results import Predictions, RunResults, TestKey
from isnet_cli.stats.comparison import ALPHA, FAMILY, SCORES, Comparison
from isnet_cli.stats.seeds import summarise_runs

# Variants of an image, named as in metrics.json
VARIANTS = ("full", "lungs_only", "lungs_removed", "other_class", "same_class")
RATES = ("precision", "recall", "specificity", "f1", "auc", "ap")  # of one class
EMPTY: Mapping[str, None] = dict.fromkeys(("value", "low", "high", "sd", "method", "why"))
NOT_MEASURED = "not measured"
FINDING_FIGURES = ("pointing", "inside_share", "ratio")  # of maps against annotations
SEED_SCORES = ("macro_f1", "macro_auc", "macro_ap", "accuracy", "balanced_accuracy", "brier")
FigureCell = dict[str, Any]
CsvRow = dict[str, Any]
WHERE = ("set", "version")


def collect_scores(run: RunResults, test: TestKey) -> dict[str, FigureCell]:
    """`SCORES` of one run with the intervals that its evaluation gave."""
    found = run.scores(test)
    tree = {**found, "calibration": found.get("calibration") or {}}
    return {
        name: make_cell(tree, found.get("intervals") or {}, path) for name, path in SCORES.items()
    }


def collect_class_scores(run: RunResults, test: TestKey) -> dict[str, dict[str, FigureCell]]:
    """The rates of each class, likewise."""
    found = run.scores(test)
    intervals = found.get("intervals") or {}
    return {
        name: {
            "positives": found["per_class"][name].get("positives"),
            **{rate: make_cell(found, intervals, ("per_class", name, rate)) for rate in RATES},
        }
        for name in run.classes
    }


def collect_reliance(run: RunResults, test: TestKey) -> dict[str, Any]:
    """What one test says about the use of the background.

    Returns:
        ``n`` images that were cut and pasted; ``auc``: variant -> cell of the macro AUC; ``flips``,
        ``gap_f1``, ``gap_auc``: cells; ``outside``: ``n``, ``mean``, ``p95``, ``why`` of the
        relevance outside the lungs; ``findings``: ``n`` annotated ones, ``chance``, and the cells
        ``pointing``, ``inside_share``, ``ratio`` of `summarise_localisation`; ``why`` where nothing
        was measured.
    """
    found = run.scores(test)
    findings = _collect_findings(run, test)
    cut = found.get("background") or {"n": 0, "why": NOT_MEASURED}
    shares = found.get("relevance_outside") or {"n": 0, "why": NOT_MEASURED}
    outside = {name: shares.get(name) for name in ("n", "mean", "p95", "why")}
    if not cut["n"]:
        nothing = {**EMPTY, "why": cut.get("why")}
        return {
            "n": 0, "why": cut.get("why"), "auc": dict.fromkeys(VARIANTS, nothing),
            "flips": nothing, "gap_f1": nothing, "gap_auc": nothing, "outside": outside,
            "findings": findings,
        }  # fmt: skip
    areas = {
        name: make_cell(entry, entry.get("intervals") or {}, ("macro", "auc"))
        for name, entry in cut["variants"].items()
    }
    flips = cut["flips"]
    return {
        "n": cut["n"], "why": None, "auc": areas,
        "flips": {**_complete_cell(flips), "value": flips["rate"]},
        "gap_f1": _complete_cell(cut["gap"]["f1"]), "gap_auc": _complete_cell(cut["gap"]["auc"]),
        "outside": outside, "findings": findings,
    }  # fmt: skip


def _collect_findings(run: RunResults, test: TestKey) -> dict[str, Any]:
    found = run.localisation(test)
    nothing = {**EMPTY, "why": found.get("why") or NOT_MEASURED}
    cells = {
        name: _complete_cell(found[name]) if found.get("n") else nothing for name in FINDING_FIGURES
    }
    return {"n": found.get("n", 0), "chance": found.get("chance"), **cells}


def make_cell(
    values: Mapping[str, Any], intervals: Mapping[str, Any], path: Sequence[str]
) -> FigureCell:
    """The cell at `path`, with the keys of `EMPTY`: value of the scores, rest of the intervals.

    Args:
        values: Tree of scores.
        intervals: Tree of the same form, with ``low``, ``high``, ``method`` at its ends.
        path: Names from the root.
    """
    place: Any = intervals
    value: Any = values
    for name in path:
        place = place.get(name) or {} if isinstance(place, Mapping) else {}
        value = value.get(name) if isinstance(value, Mapping) else None
    cell = {**_complete_cell(place), "value": value}
    return cell if value is not None else {**cell, "why": cell["why"] or intervals.get("why")}


def _complete_cell(cell: Mapping[str, Any]) -> FigureCell:
    return {name: cell.get(name) for name in EMPTY}


def build_document(
    runs: Sequence[RunResults],
    described: Sequence[dict[str, Any]],
    tables: Mapping[TestKey, Sequence[Predictions]],
    comparisons: Sequence[Comparison],
    groups: Sequence[SeedGroup],
    left_out: Sequence[LeftOut],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Everything that the page says, JSON-able.

    Args:
        runs: The runs.
        described: What each is, one entry a run.
        tables: Their predictions on the tests in common.
        comparisons: Corrected.
        groups: Runs that differ in their seed alone.
        left_out: Tests that could not be compared.
        settings: ``draws`` and ``seed`` of the bootstrap.
    """
    tests = [_describe_test(runs, test, found) for test, found in tables.items()]
    names = [run.name for run in runs]
    pairs = [
        {
            "set": c.test[0], "version": c.test[1], "first": names[c.first],
            "second": names[c.second], "differences": dict(c.differences),
        }
        for c in comparisons
    ]  # fmt: skip
    return {
        "classes": runs[0].classes,
        "task": runs[0].task,
        "runs": list(described),
        "tests": tests,
        "comparisons": {
            "family": FAMILY, "family_size": len(pairs), "alpha": ALPHA, "correction": "holm",
            **settings, "pairs": pairs,
        },
        "seeds": [_describe_seeds(group, names, tests) for group in groups],
        "left_out": [
            {"set": one.test[0], "version": one.test[1], "kind": one.kind, "why": one.why}
            for one in left_out
        ],
    }  # fmt: skip


def _describe_test(
    runs: Sequence[RunResults], test: TestKey, tables: Sequence[Predictions]
) -> dict[str, Any]:
    first = runs[0].scores(test)
    return {
        "set": test[0],
        "version": test[1],
        "images": len(tables[0].labels),
        "labelled": first["n"],
        "patients": first.get("patients"),
        "runs": {
            run.name: {
                "scores": collect_scores(run, test),
                "per_class": collect_class_scores(run, test),
                "reliance": collect_reliance(run, test),
            }
            for run in runs
        },
    }


def _describe_seeds(
    group: SeedGroup, names: Sequence[str], tests: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    members = [names[i] for i in group.runs]
    found = []
    for test in tests:
        own = [test["runs"][name] for name in members]
        figures = {
            name: summarise_runs([one["scores"][name]["value"] for one in own])
            for name in SEED_SCORES
        }
        cut = [one["reliance"] for one in own]
        figures["auc_lungs_removed"] = summarise_runs(
            [c["auc"]["lungs_removed"]["value"] for c in cut]
        )
        figures["flips"] = summarise_runs([c["flips"]["value"] for c in cut])
        figures["gap_auc"] = summarise_runs([c["gap_auc"]["value"] for c in cut])
        figures["relevance_outside"] = summarise_runs([c["outside"]["mean"] for c in cut])
        if any(c["findings"]["n"] for c in cut):
            figures["pointing"] = summarise_runs([c["findings"]["pointing"]["value"] for c in cut])
        found.append({"set": test["set"], "version": test["version"], "figures": figures})
    return {"name": group.name, "runs": members, "seeds": list(group.seeds), "tests": found}


def list_score_rows(content: Mapping[str, Any]) -> list[CsvRow]:
    """One line a run, test and score; class scores too."""
    rows = []
    for test in content["tests"]:
        for run, found in test["runs"].items():
            where = {"set": test["set"], "version": test["version"], "run": run}
            rows += [
                {**where, "score": name, "class": "", **_format_cell(cell)}
                for name, cell in found["scores"].items()
            ]
            rows += [
                {**where, "score": rate, "class": label, **_format_cell(entry[rate])}
                for label, entry in found["per_class"].items()
                for rate in RATES
            ]
    return rows


def list_pair_rows(content: Mapping[str, Any]) -> list[CsvRow]:
    """One line a pair of runs, test and score."""
    names = ("value", "low", "high", "sd", "p", "p_holm", "method", "why")
    return [
        {
            **{key: pair[key] for key in ("set", "version", "first", "second")},
            "score": score,
            **{name: _format_value(cell.get(name)) for name in names},
        }
        for pair in content["comparisons"]["pairs"]
        for score, cell in pair["differences"].items()
    ]


def list_reliance_rows(content: Mapping[str, Any]) -> list[CsvRow]:
    """One line a run, test and figure of background reliance."""
    rows = []
    for test in content["tests"]:
        for run, found in test["runs"].items():
            own = found["reliance"]
            where = {"set": test["set"], "version": test["version"], "run": run}
            cells = {f"auc_{name}": cell for name, cell in own["auc"].items()}
            cells |= {name: own[name] for name in ("flips", "gap_f1", "gap_auc")}
            if own["findings"]["n"]:
                cells |= {name: own["findings"][name] for name in FINDING_FIGURES}
                cells["chance"] = {"value": own["findings"]["chance"]}
            outside = own["outside"]
            cells |= {
                f"relevance_outside_{name}": {"value": outside[name], "why": outside["why"]}
                for name in ("mean", "p95")
            }
            rows += [
                {**where, "figure": name, **_format_cell(cell)} for name, cell in cells.items()
            ]
    return rows


def list_seed_rows(content: Mapping[str, Any]) -> list[CsvRow]:
    """One line a group of seeds, test and figure."""
    names = ("runs", "mean", "sd", "least", "largest", "why")
    return [
        {
            "settings": group["name"], "set": test["set"], "version": test["version"],
            "figure": figure, **{name: _format_value(cell.get(name)) for name in names},
        }
        for group in content["seeds"]
        for test in group["tests"]
        for figure, cell in test["figures"].items()
    ]  # fmt: skip


def _format_cell(cell: Mapping[str, Any]) -> CsvRow:
    return {name: _format_value(cell.get(name)) for name in EMPTY}


def _format_value(value: Any) -> str:
    """The shortest text that reads back as the same number; empty for None."""
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


TABLES: Mapping[str, tuple[Any, tuple[str, ...]]] = {  # name -> rows, columns
    "scores": (list_score_rows, (*WHERE, "run", "score", "class", *EMPTY)),
    "tests": (
        list_pair_rows,
        (*WHERE, "first", "second", "score", "value", "low", "high", "sd", "p", "p_holm", "method",
         "why"),
    ),
    "reliance": (list_reliance_rows, (*WHERE, "run", "figure", *EMPTY)),
    "seeds": (
        list_seed_rows,
        ("settings", *WHERE, "figure", "runs", "mean", "sd", "least", "largest", "why"),
    ),
}  # fmt: skip
