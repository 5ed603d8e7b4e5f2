"""Every score has an interval or a reason, by the method that the settings and images call for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.intervals import NO_IMAGES, ONE_PATIENT, SAME_DRAWS, add_intervals
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores
from tests.stats.factory import random_predictions

QUICK: dict[str, Any] = {"draws": 2000, "bootstrap": 200}


def described(
    p: Any, y: Any, names: list[str], patients: Any = None, **settings: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    metrics = scores(p, y, names)
    sample = make_sample(p, y, names, patients=patients)
    found = add_intervals(metrics, sample, Intervals(**QUICK, **settings), 5)
    json.dumps(found, allow_nan=False)
    return metrics, found


def leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for name, entry in tree.items():
        if isinstance(entry, dict) and "value" in entry:
            yield (*path, name), entry
        elif isinstance(entry, dict):
            yield from leaves(entry, (*path, name))


def at(tree: dict[str, Any], path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("method", ["auto", "closed", "bootstrap"])
def test_every_score_has_a_cell_that_holds_its_value(method: str, several: bool) -> None:
    p, y, names = random_predictions(0, 80, 3, multilabel=several)
    metrics, found = described(p, y, names, method=method)
    assert found["intervals"]["level"] == 0.95
    cells = dict(leaves(found["intervals"]))
    assert len(cells) == 2 + 6 + 3 * 6 + 2
    for path, cell in cells.items():
        whole = found if path[0] == "calibration" else metrics
        assert cell["value"] == pytest.approx(at(whole, path), abs=1e-12)
        if path == ("calibration", "ece"):
            assert cell["low"] is None
            assert cell["why"]
        else:
            assert 0 <= cell["low"] < cell["high"] <= 1
            assert cell["sd"] > 0
            assert cell["low"] - 0.02 <= cell["value"] <= cell["high"] + 0.02


@pytest.mark.parametrize(
    ("method", "patients", "several", "accuracy", "recall", "auc"),
    [
        ("auto", None, False, "dirichlet", "dirichlet", "delong"),
        ("auto", "pairs", False, "bootstrap", "bootstrap", "delong"),
        ("closed", "pairs", False, "dirichlet", "dirichlet", "delong"),
        ("bootstrap", None, False, "bootstrap", "bootstrap", "bootstrap"),
        ("auto", None, True, "bootstrap", "dirichlet", "delong"),
    ],
)
def test_methods(
    method: str, patients: Any, several: bool, accuracy: str, recall: str, auc: str
) -> None:
    p, y, names = random_predictions(1, 80, 3, multilabel=several)
    given = [f"p{i // 2}" for i in range(80)] if patients else None
    _, found = described(p, y, names, given, method=method)
    intervals = found["intervals"]
    assert intervals["accuracy"]["method"] == accuracy
    assert intervals["per_class"]["c1"]["recall"]["method"] == recall
    assert intervals["macro"]["auc"]["method"] == auc
    assert intervals["per_class"]["c0"]["ap"]["method"] == "bootstrap-logit"
    assert found["patients"] == (40 if patients else 80)


def test_images_of_one_patient_widen_the_interval() -> None:
    p, y, names = random_predictions(2, 100, 2)
    p, y = np.repeat(p, 4, axis=0), np.repeat(y, 4)
    patients = [f"p{i // 4}" for i in range(400)]
    width = {}
    for key, given in (("patients", patients), ("images", None)):
        cells = described(p, y, names, given)[1]["intervals"]
        width[key] = {
            name: cells["macro"][name]["high"] - cells["macro"][name]["low"]
            for name in ("f1", "auc", "ap")
        }
    for name, value in width["patients"].items():
        assert value == pytest.approx(2 * width["images"][name], rel=0.25)


def test_no_error_at_all_is_no_certainty() -> None:
    p, y = np.eye(2)[[0, 1] * 15] * 0.8 + 0.1, np.array([0, 1] * 15)
    patients = [f"p{i // 2}" for i in range(30)]
    for given in (None, patients):
        cells = described(p, y, ["a", "b"], given)[1]["intervals"]
        assert cells["accuracy"]["method"] == "dirichlet"
        assert cells["accuracy"]["low"] < 0.97
        assert cells["macro"]["auc"]["method"] == "newcombe"
        assert cells["macro"]["auc"]["low"] < 0.97
        ap = cells["macro"]["ap"]
        assert (ap["value"], ap["low"], ap["why"]) == (1.0, None, SAME_DRAWS)


def test_missing_class_has_the_score_s_own_reason() -> None:
    p, y, names = random_predictions(3, 40, 3)
    y = np.where(y == 2, 0, y)
    metrics, found = described(p, y, names)
    cell = found["intervals"]["per_class"]["c2"]["f1"]
    assert (cell["value"], cell["low"]) == (None, None)
    assert cell["why"] == metrics["per_class"]["c2"]["why"]["f1"]
    assert found["intervals"]["macro"]["f1"]["low"] is not None


@pytest.mark.parametrize("method", ["auto", "closed", "bootstrap"])
@pytest.mark.parametrize(
    ("p", "y", "names"),
    [
        ([[0.3, 0.7]], [1], ["a", "b"]),
        ([[1.0]], [0], ["a"]),
        ([[1.0]] * 4, [0] * 4, ["a"]),
        ([[0.5, 0.5]] * 6, [0, 1] * 3, ["a", "b"]),
        ([[0.3, 0.7], [0.6, 0.4]], [1, 0], ["a", "b"]),
        ([[0.3], [0.6]], [[1.0], [0.0]], ["a"]),
        ([[0.3, 0.2], [0.6, 0.1]], [[1.0, np.nan], [1.0, np.nan]], ["a", "b"]),
    ],
)
def test_smallest_sets_have_cells_with_values_or_reasons(
    p: Any, y: Any, names: list[str], method: str
) -> None:
    _, found = described(np.array(p), np.array(y), names, method=method)
    for path, cell in leaves(found["intervals"]):
        if cell["low"] is None:
            assert cell["why"], path
        else:
            assert 0 <= cell["low"] <= cell["high"] <= 1, path


def test_one_patient_is_no_sample_of_patients() -> None:
    p, y, names = random_predictions(4, 20, 2)
    _, found = described(p, y, names, ["p"] * 20)
    assert found["intervals"]["accuracy"]["why"] == ONE_PATIENT
    assert found["patients"] == 1


def test_no_labelled_image() -> None:
    _, found = described(np.full((3, 2), 0.5), np.full(3, -1), ["a", "b"])
    assert found["intervals"] == {"level": 0.95, "why": NO_IMAGES}
    assert found["calibration"]["why"] == NO_IMAGES


def test_same_seed_same_intervals() -> None:
    p, y, names = random_predictions(5, 60, 3)
    assert described(p, y, names) == described(p, y, names)
