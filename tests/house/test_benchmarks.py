"""The benchmarks of the engine and of the intervals run, and compute what they claim."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.house.rules import ROOT

ENGINE, COVERAGE = ROOT / "benchmarks" / "engine.py", ROOT / "benchmarks" / "coverage.py"


def load_script(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(f"{path.stem}_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def engine() -> ModuleType:
    return load_script(ENGINE)


@pytest.mark.slow
def test_limit_of_vgg_by_hand(engine: ModuleType) -> None:
    size = 32
    channels = [(3, 64, 32), (64, 128, 16), (128, 256, 8), (256, 256, 8), (256, 512, 4),
                (512, 512, 4), (512, 512, 2), (512, 512, 2)]  # fmt: skip
    counts = [9 * i * o * side**2 for i, o, side in channels]
    counts += [512 * 49 * 4096, 4096 * 4096, 4096 * 3]
    whole, first = sum(counts), counts[0]
    standard = 3 * whole - first
    found = engine.limits("vgg11_bn", engine.Setting("cpu", size, 2, 1))
    assert found["one_map_without_zb_eager"] == (standard + 3 * whole) / standard
    assert found["three_maps_eager"] == (standard + 9 * (whole - first) + 18 * first) / standard


@pytest.mark.slow
def test_small_run_prints_every_figure() -> None:
    words = ["--nets", "resnet18", "--size", "32", "--batch", "2", "--rounds", "1", "--json"]
    done = subprocess.run(
        [sys.executable, str(ENGINE), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["resnet18"]
    for name in ("one_map_eager", "three_maps_eager", "ten_maps_eager"):
        spread = figures[name]["ratio"]
        assert 1 < spread["min"] <= spread["median"] <= spread["max"]
    assert (
        figures["three_maps_eager"]["ratio"]["median"] < figures["ten_maps_eager"]["ratio"]["max"]
    )
    assert figures["one_map_compiled"]["ratio"] is None
    assert "--compiled" in figures["one_map_compiled"]["reason"]
    assert 1 < figures["memory_one_map"] < 20
    assert figures["memory_three_maps"] > 1


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    return load_script(COVERAGE)


@pytest.mark.slow
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


@pytest.mark.slow
def test_it_prints_a_table() -> None:
    done = subprocess.run(
        [sys.executable, str(COVERAGE), "--quick", "--part", "areas"],
        capture_output=True, text=True, check=True, timeout=250,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'models'}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    rows = [line for line in done.stdout.splitlines() if line.startswith("| 50")]
    assert len(rows) == 4
    assert all(0 <= float(cell) <= 100 for row in rows for cell in row.strip("| ").split("|")[2:])
