"""Scores of stored predictions; what is not measured is skipped by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from isnet_cli.stats.roc import area_variance, compute_areas, p_value
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores
from tests.golden.tools.compare import Ledger
from tests.golden.tools.folder import Case, UnknownFormError, of_kind, params

pytestmark = pytest.mark.shared
CASES = of_kind("metrics")
MATRIX = "performance_rows_classes_then_mean_cols_precision_recall_f1"
TESTED = {"variance", "log10_p_value_of_difference"}  # by DeLong's formulas
MET = {"confusion_rows_true_cols_pred", "accuracy", MATRIX, "auc", *TESTED}
ABSENT = {"confusion_with_implicit_class_th0p5": "an implicit class by threshold"}
BESIDE = {"name", "provenance", "scores", "labels", "rounding", "independent", "note", "delong"}
DELONG = {"labels", "scores", "scores_second"}


def _figures() -> list[tuple[str, tuple[Case, str]]]:
    found = []
    for case in CASES:
        names = [key for key in case.meta if key not in BESIDE]
        names += [key for key in case.meta.get("delong", {}) if key not in DELONG]
        found += [(f"{case.name}-{name}", (case, name)) for name in names]
    return found


def _classification(case: Case) -> tuple[dict[str, Any], list[str]]:
    raw = np.exp(np.array(case.meta["scores"]))
    classes = [f"class{k}" for k in range(raw.shape[1])]
    return scores(raw / raw.sum(axis=1, keepdims=True), case.meta["labels"], classes), classes


@pytest.mark.parametrize("item", params(_figures(), "scores"))
def test_figure(item: tuple[Case, str]) -> None:
    case, name = item
    if name in ABSENT:
        pytest.skip(f"not measured: {ABSENT[name]}")
    if name not in MET:
        raise UnknownFormError(f"{case.name}: figure '{name}'")
    ledger, exact = Ledger(), case.tolerance("abs")
    if name in TESTED:
        ledger.equal(name, _delong(case.meta["delong"])[name], case.meta["delong"][name], exact)
    elif name == "auc":
        given = case.meta["delong"]
        p = np.array(given["scores"])
        found = scores(np.stack([1 - p, p], axis=1), given["labels"], ["no", "yes"])
        ledger.equal(name, found["per_class"]["yes"]["auc"], given["auc"], exact, 1.0)
        ledger.equal(name, found["per_class"]["no"]["auc"], given["auc"], exact, 1.0)
    else:
        found, classes = _classification(case)
        expected = case.meta[name]
        if name == "accuracy":
            ledger.equal(name, found["accuracy"], expected, exact, 1.0)
        elif name == MATRIX:
            # Three decimals, and 1e-6 in each denominator. Where we say that a rate has no value,
            # the published code has 0, in the means too.
            rows = [
                [_rate(found, k, rate) for rate in ("precision", "recall", "f1")] for k in classes
            ]
            rows.append(np.mean(rows, axis=0).tolist())
            ledger.equal(name, rows, expected, 5e-4 + 2e-6, 1.0)
        else:
            ledger.equal(name, found["confusion"], expected, exact, 1.0)
    ledger.close()


def _delong(given: dict[str, Any]) -> dict[str, float]:
    """Variance of the first area, and log10 of p of the difference of the two."""
    truth = np.array(given["labels"])
    areas = []
    for key in ("scores", "scores_second"):
        p = np.array(given[key])
        areas.append(compute_areas(make_sample(np.stack([1 - p, p], axis=1), truth, ["no", "yes"])))
    own = np.arange(len(truth))
    first, second = (a.psi[:, 1] for a in areas)
    p_found = p_value(areas[1].auc[1] - areas[0].auc[1], area_variance(second - first, own))
    return {
        "variance": area_variance(first, own),
        "log10_p_value_of_difference": math.log10(p_found),
    }


def _rate(found: dict[str, Any], name: str, rate: str) -> float:
    value = found["per_class"][name][rate]
    return 0.0 if value is None else float(value)
