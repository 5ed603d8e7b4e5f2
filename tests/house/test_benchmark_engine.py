"""The engine's benchmark: its limits by hand, and one small run of the whole."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from types import ModuleType

import pytest

from tests.house.rules import ROOT

FILE = ROOT / "benchmarks" / "engine.py"


@pytest.fixture(scope="module")
def engine() -> ModuleType:
    spec = importlib.util.spec_from_file_location("engine_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
        [sys.executable, str(FILE), *words], capture_output=True, text=True, check=False
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
