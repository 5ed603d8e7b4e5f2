"""The figures of a comparison as one JSON-able document, and as tables of the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.evaluate.background_scores import VARIANTS
from isnet_cli.report.compare.images import LeftOut
from isnet_cli.report.compare.read_run import Evaluated, Key, Predictions
from isnet_cli.report.compare.seeds import Group
from isnet_cli.stats.comparison import ALPHA, FAMILY, SCORES, Comparison
from isnet_cli.stats.seeds import over_runs

RATES = ("precision", "recall", "specificity", "f1", "auc", "ap")  # of one class
EMPTY: Mapping[str, None] = dict.fromkeys(("value", "low", "high", "sd", "method", "why"))
NOT_MEASURED = "not measured"
SEED_SCORES = ("macro_f1", "macro_auc", "macro_ap", "accuracy", "balanced_accuracy", "brier")
Cell = dict[str, Any]
Row = dict[str, Any]


def scores_of(run: Evaluated, test: Key) -> dict[str, Cell]:
    """`SCORES` of one run with the intervals that its evaluation gave."""
    found = run.scores(test)
    tree = {**found, "calibration": found.get("calibration") or {}}
    return {
        name: cell_at(tree, found.get("intervals") or {}, path) for name, path in SCORES.items()
    }


def classes_of(run: Evaluated, test: Key) -> dict[str, dict[str, Cell]]:
    """The rates of each class, likewise."""
    found = run.scores(test)
    intervals = found.get("intervals") or {}
    return {
        name: {
            "positives": found["per_class"][name].get("positives"),
            **{rate: cell_at(found, intervals, ("per_class", name, rate)) for rate in RATES},
        }
        for name in run.classes
    }


def reliance_of(run: Evaluated, test: Key) -> dict[str, Any]:
    """What one test says about the use of the background.

    Returns:
        ``n`` images that were cut and pasted; ``auc``: variant -> cell of the macro AUC; ``flips``,
        ``gap_f1``, ``gap_auc``: cells; ``outside``: ``n``, ``mean``, ``p95``, ``why`` of the
        relevance outside the lungs; ``why`` where nothing was measured.
    """
    found = run.scores(test)
    cut = found.get("background") or {"n": 0, "why": NOT_MEASURED}
    shares = found.get("relevance_outside") or {"n": 0, "why": NOT_MEASURED}
    outside = {name: shares.get(name) for name in ("n", "mean", "p95", "why")}
    if not cut["n"]:
        nothing = {**EMPTY, "why": cut.get("why")}
        return {
            "n": 0, "why": cut.get("why"), "auc": dict.fromkeys(VARIANTS, nothing),
            "flips": nothing, "gap_f1": nothing, "gap_auc": nothing, "outside": outside,
        }  # fmt: skip
    areas = {
        name: cell_at(entry, entry.get("intervals") or {}, ("macro", "auc"))
        for name, entry in cut["variants"].items()
    }
    flips = cut["flips"]
    return {
        "n": cut["n"], "why": None, "auc": areas,
        "flips": {**_known(flips), "value": flips["rate"]},
        "gap_f1": _known(cut["gap"]["f1"]), "gap_auc": _known(cut["gap"]["auc"]),
        "outside": outside,
    }  # fmt: skip


def cell_at(values: Mapping[str, Any], intervals: Mapping[str, Any], path: Sequence[str]) -> Cell:
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
    cell = {**_known(place), "value": value}
    return cell if value is not None else {**cell, "why": cell["why"] or intervals.get("why")}


def _known(cell: Mapping[str, Any]) -> Cell:
    return {name: cell.get(name) for name in EMPTY}


def document(
    runs: Sequence[Evaluated],
    described: Sequence[dict[str, Any]],
    tables: Mapping[Key, Sequence[Predictions]],
    comparisons: Sequence[Comparison],
    groups: Sequence[Group],
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
    tests = [_test(runs, test, found) for test, found in tables.items()]
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
        "seeds": [_over_seeds(group, names, tests) for group in groups],
        "left_out": [
            {"set": one.test[0], "version": one.test[1], "kind": one.kind, "why": one.why}
            for one in left_out
        ],
    }  # fmt: skip


def _test(runs: Sequence[Evaluated], test: Key, tables: Sequence[Predictions]) -> dict[str, Any]:
    first = runs[0].scores(test)
    return {
        "set": test[0],
        "version": test[1],
        "images": len(tables[0].labels),
        "labelled": first["n"],
        "patients": first.get("patients"),
        "runs": {
            run.name: {
                "scores": scores_of(run, test),
                "per_class": classes_of(run, test),
                "reliance": reliance_of(run, test),
            }
            for run in runs
        },
    }


def _over_seeds(
    group: Group, names: Sequence[str], tests: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    members = [names[i] for i in group.runs]
    found = []
    for test in tests:
        own = [test["runs"][name] for name in members]
        figures = {
            name: over_runs([one["scores"][name]["value"] for one in own]) for name in SEED_SCORES
        }
        cut = [one["reliance"] for one in own]
        figures["auc_lungs_removed"] = over_runs([c["auc"]["lungs_removed"]["value"] for c in cut])
        figures["flips"] = over_runs([c["flips"]["value"] for c in cut])
        figures["gap_auc"] = over_runs([c["gap_auc"]["value"] for c in cut])
        figures["relevance_outside"] = over_runs([c["outside"]["mean"] for c in cut])
        found.append({"set": test["set"], "version": test["version"], "figures": figures})
    return {"name": group.name, "runs": members, "seeds": list(group.seeds), "tests": found}


def score_rows(content: Mapping[str, Any]) -> list[Row]:
    """One line a run, test and score; class scores too."""
    rows = []
    for test in content["tests"]:
        for run, found in test["runs"].items():
            where = {"set": test["set"], "version": test["version"], "run": run}
            rows += [
                {**where, "score": name, "class": "", **_filled(cell)}
                for name, cell in found["scores"].items()
            ]
            rows += [
                {**where, "score": rate, "class": label, **_filled(entry[rate])}
                for label, entry in found["per_class"].items()
                for rate in RATES
            ]
    return rows


def pair_rows(content: Mapping[str, Any]) -> list[Row]:
    """One line a pair of runs, test and score."""
    names = ("value", "low", "high", "sd", "p", "p_holm", "method", "why")
    return [
        {
            **{key: pair[key] for key in ("set", "version", "first", "second")},
            "score": score,
            **{name: _text(cell.get(name)) for name in names},
        }
        for pair in content["comparisons"]["pairs"]
        for score, cell in pair["differences"].items()
    ]


def reliance_rows(content: Mapping[str, Any]) -> list[Row]:
    """One line a run, test and figure of background reliance."""
    rows = []
    for test in content["tests"]:
        for run, found in test["runs"].items():
            own = found["reliance"]
            where = {"set": test["set"], "version": test["version"], "run": run}
            cells = {f"auc_{name}": cell for name, cell in own["auc"].items()}
            cells |= {name: own[name] for name in ("flips", "gap_f1", "gap_auc")}
            outside = own["outside"]
            cells |= {
                f"relevance_outside_{name}": {"value": outside[name], "why": outside["why"]}
                for name in ("mean", "p95")
            }
            rows += [{**where, "figure": name, **_filled(cell)} for name, cell in cells.items()]
    return rows


def seed_rows(content: Mapping[str, Any]) -> list[Row]:
    """One line a group of seeds, test and figure."""
    names = ("runs", "mean", "sd", "least", "largest", "why")
    return [
        {
            "settings": group["name"], "set": test["set"], "version": test["version"],
            "figure": figure, **{name: _text(cell.get(name)) for name in names},
        }
        for group in content["seeds"]
        for test in group["tests"]
        for figure, cell in test["figures"].items()
    ]  # fmt: skip


def _filled(cell: Mapping[str, Any]) -> Row:
    return {name: _text(cell.get(name)) for name in EMPTY}


def _text(value: Any) -> str:
    """The shortest text that reads back as the same number; empty for none."""
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


WHERE = ("set", "version")
TABLES: Mapping[str, tuple[Any, tuple[str, ...]]] = {  # name -> rows, columns
    "scores": (score_rows, (*WHERE, "run", "score", "class", *EMPTY)),
    "tests": (
        pair_rows,
        (*WHERE, "first", "second", "score", "value", "low", "high", "sd", "p", "p_holm", "method",
         "why"),
    ),
    "reliance": (reliance_rows, (*WHERE, "run", "figure", *EMPTY)),
    "seeds": (
        seed_rows,
        ("settings", *WHERE, "figure", "runs", "mean", "sd", "least", "largest", "why"),
    ),
}  # fmt: skip
