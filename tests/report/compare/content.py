"""The document of a small comparison, without any file, for the tests of its sections."""

from __future__ import annotations

from typing import Any

RUNS = ("one", "two")


def cell(
    value: float | None, spread: float | None = 0.05, why: str | None = None
) -> dict[str, Any]:
    """A figure with its interval, or without where `spread` is None."""
    known = value is not None and spread is not None
    return {
        "value": value, "low": value - spread if known else None,  # type: ignore[operator]
        "high": value + spread if known else None,  # type: ignore[operator]
        "sd": None, "method": "delong" if known else None, "why": why,
    }  # fmt: skip


def scores(value: float | None, why: str | None = None) -> dict[str, Any]:
    names = ("macro_f1", "macro_auc", "macro_ap", "accuracy", "balanced_accuracy", "brier")
    return {name: cell(value, why=why) for name in names}


def reliance(value: float | None, outside: float | None = 0.25, why: str = "") -> dict[str, Any]:
    names = ("full", "lungs_only", "lungs_removed", "other_class", "same_class")
    return {
        "n": 0 if value is None else 8, "why": why or None,
        "auc": {name: cell(value, why=why or None) for name in names},
        "flips": cell(value), "gap_f1": cell(value), "gap_auc": cell(value),
        "outside": {"n": 0 if outside is None else 8, "mean": outside, "p95": outside,
                    "why": why or None},
        "findings": findings(None),
    }  # fmt: skip


def findings(value: float | None) -> dict[str, Any]:
    cells = {name: cell(value) for name in ("pointing", "inside_share", "ratio")}
    return {"n": 0 if value is None else 5, "chance": value, **cells}


def classes(value: float | None) -> dict[str, Any]:
    rates = ("precision", "recall", "specificity", "f1", "auc", "ap")
    return {"tb": {"positives": 4, **{rate: cell(value) for rate in rates}}}


def one_test(value: float, version: str = "standard", **own: Any) -> dict[str, Any]:
    """One test; the runs' scores are `value` and a tenth more."""
    return {
        "set": "test", "version": version, "images": 9, "labelled": 8, "patients": 8,
        "runs": {
            name: {
                "scores": scores(value + 0.1 * i), "per_class": classes(value + 0.1 * i),
                "reliance": reliance(0.5), **own,
            }
            for i, name in enumerate(RUNS)
        },
    }  # fmt: skip


def paired_cell(p: float | None, p_holm: float | None, why: str | None = None) -> dict[str, Any]:
    return {**cell(0.1), "p": p, "p_holm": p_holm, "why": why}


def pair(p: float | None = 0.01, p_holm: float | None = 0.02, **cells: Any) -> dict[str, Any]:
    names = scores(0.0)
    return {
        "set": "test", "version": "standard", "first": "one", "second": "two",
        "differences": {name: paired_cell(p, p_holm) for name in names} | cells,
    }  # fmt: skip


def group() -> dict[str, Any]:
    """Both runs as two seeds."""
    spread = {"runs": 2, "mean": 0.75, "sd": 0.07, "least": 0.7, "largest": 0.8}
    figures = dict.fromkeys(scores(0.0), spread)
    return {
        "name": "both", "runs": list(RUNS), "seeds": [3, 4],
        "tests": [{"set": "test", "version": "standard", "figures": figures}],
    }  # fmt: skip


def content(**changes: Any) -> dict[str, Any]:
    """Two runs on one test."""
    runs = [
        {
            "name": name, "method": "isnet", "arch": "small", "input": [64, 64], "seed": i,
            "settings": None, "images_of": "one", "files": {"evaluate/metrics.json": "ab" * 32},
        }
        for i, name in enumerate(RUNS)
    ]  # fmt: skip
    pairs = changes.pop("pairs", [pair()])
    return {
        "schema": 1, "isnet": "0.1.0", "classes": ["normal", "tb"], "task": "multiclass",
        "runs": runs, "tests": [one_test(0.7)],
        "comparisons": {
            "family": "every pair", "family_size": len(pairs), "alpha": 0.05, "draws": 300,
            "pairs": pairs,
        },
        "seeds": [], "left_out": [], "notes": [], "maps": [], **changes,
    }  # fmt: skip
