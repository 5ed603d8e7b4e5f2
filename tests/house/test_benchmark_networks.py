"""The simulation of coverage runs, and its truths are the scores of endless samples."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from tests.house.rules import ROOT

FILE = ROOT / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_true_scores_are_those_of_a_large_sample(coverage: ModuleType) -> None:
    rng = np.random.default_rng(0)
    truth = coverage.a_truth(3, rng)
    assert truth.sum() == pytest.approx(1)
    table = rng.multinomial(400_000, truth.ravel()).reshape(3, 3)
    sample, valid = coverage.from_table(table)
    expected = coverage.true_scores(truth, sample, valid)
    for path in coverage.PATHS.values():
        assert expected[path][0] == pytest.approx(valid[path], abs=0.006)


def test_predictions_have_the_table_they_were_made_from(coverage: ModuleType) -> None:
    table = np.array([[5, 1], [2, 7]])
    sample, valid = coverage.from_table(table)
    assert len(sample) == 15
    assert valid["per_class", "c1", "recall"] == pytest.approx(7 / 9)


def test_images_of_a_patient_have_one_truth(coverage: ModuleType) -> None:
    own, truth, p = coverage.images_of(50, True, np.random.default_rng(1))
    assert np.bincount(own).min() >= 1
    assert len(own) > 80
    assert all(len(set(truth[own == patient])) == 1 for patient in range(50))
    assert ((p > 0) & (p < 1)).all()


def test_it_prints_a_table() -> None:
    done = subprocess.run(
        [sys.executable, str(FILE), "--quick", "--part", "areas"],
        capture_output=True, text=True, check=True, timeout=250,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'models'}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    rows = [line for line in done.stdout.splitlines() if line.startswith("| 50")]
    assert len(rows) == 4
    assert all(0 <= float(cell) <= 100 for row in rows for cell in row.strip("| ").split("|")[2:])
