"""The benchmarks run, and compute what they claim."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from isnet_cli.stats.scores import scores
from tests.house.rules import ROOT

ENGINE, COVERAGE = ROOT / "benchmarks" / "engine.py", ROOT / "benchmarks" / "coverage.py"
SHIFT = ROOT / "benchmarks" / "threshold_shift.py"
LAB, DECOY = ROOT / "benchmarks" / "phantom_lab.py", ROOT / "benchmarks" / "decoy_mnist.py"


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


@pytest.fixture(scope="module")
def lab() -> ModuleType:
    return load_script(LAB)


def test_recipes_name_stages_methods_and_settings(lab: ModuleType) -> None:
    first, second = lab.read_recipe(
        "background_mix:epochs=3 then isnet+background_mix:relevance_range=[1,none]:lr=0.001"
        ":background_mix.share=0.5"
    )
    assert (first.method, first.epochs, first.lr, first.settings) == (
        "background_mix", 3, lab.RATE, {},
    )  # fmt: skip
    assert second.lr == 0.001
    assert second.settings == {
        "isnet": {"relevance_range": [1, "none"]}, "background_mix": {"share": 0.5},
    }  # fmt: skip
    config = lab.configure(second, 0, 2, 32)
    assert config.train.settings_of("background_mix").share == 0.5
    assert not lab.read_recipe("standard_clean")[0].marks
    start, isnet = lab.read_recipe("isnet:heatmap_weight=0.4")
    assert (start.method, start.part, start.lr) == ("background_mix", 0.6, lab.RATE)
    assert (isnet.method, isnet.lr) == ("isnet", lab.RATE / 2)
    assert len(lab.read_recipe("isnet_alone")) == len(lab.read_recipe("isnet_paper")) == 1
    assert lab.share_epochs((start, isnet), 43) == [26, 17]
    assert lab.share_epochs((first, second, second), 10) == [3, 3, 3]
    assert lab.split_list("isnet:relevance_range=[1,25],rrr") == [
        "isnet:relevance_range=[1,25]", "rrr",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no such setting"):
        lab.read_recipe("isnet:pooling=1")


@pytest.mark.slow
def test_the_lab_prints_every_figure_of_every_method() -> None:
    words = ["--methods", "standard_clean,background_mix then isnet:relevance_range=[1,none]",
             "--seeds", "0,1", "--steps", "2", "--patients", "16,8,8,8",
             "--side", "32"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(LAB), "--json", *words], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'models'}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == [words[1].split(",")[0], words[1].partition(",")[2]]
    for figures in found.values():
        assert set(figures["auc"]) == {"biased", "standard", "deceiving", "b"}
        assert all(0 <= area <= 1 for area in figures["auc"].values())
        for name in ("pointing", "inside", "chance", "outside", "same"):
            assert -1 <= figures[name] <= 1
        assert len(figures["seeds"]) == 2


def test_a_decoy_tells_the_digit_in_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DECOY.parent))
    decoy = load_script(DECOY)
    digits = np.arange(10, dtype=np.uint8)
    images = np.full((10, 28, 28), 7, np.uint8)
    found = decoy.add_patches(images, digits, np.random.default_rng(0))
    corners = ~decoy.mask_corners()
    assert corners.sum() == 64
    changed = found != images
    assert (changed.sum(axis=(1, 2)) == 16).all()
    assert not changed[:, ~corners].any()
    for image, digit, where in zip(found, digits, changed, strict=True):
        assert set(image[where].tolist()) == {255 - 25 * int(digit)}


ABSENT = ("pydicom", "SimpleITK", "highdicom", "segmentation_models_pytorch", "imagecodecs",
          "simplejpeg", "matplotlib", "jinja2", "captum", "zennit")  # fmt: skip


def run_gpu_script(out: Path, minutes: str) -> dict[str, Any]:
    """What it finds without a GPU, on small images, without what a bare machine may lack."""
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({ABSENT!r}))\n"
        f"sys.argv = ['gpu.py', '--out', {str(out)!r}, '--minutes', {minutes!r}]\n"
        f"runpy.run_path({str(ROOT / 'benchmarks/gpu.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    content = (out / "gpu.json").read_text()
    assert '"failed"' not in content
    found: dict[str, Any] = json.loads(content)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_gpu_script_runs_on_a_bare_machine(tmp_path: Path) -> None:
    found = run_gpu_script(tmp_path, "60")
    assert not [name for name, part in found.items() if "left out" in part]
    for key, entry in found["numbers"].items():
        if key.endswith("float32 gradient"):
            assert entry["cosine"] > 0.9999
            assert entry["ratio"] == pytest.approx(1, abs=5e-3)  # of float32, through two passes
    assert found["training"]["resnet18 isnet batch 4"]["finite"]
    assert found["engine"]["resnet18 one map"]["ratio"] > 1
    shared = found["sharing"]["resnet18, gloo, gradient beside alone"]
    assert shared["cosine"] == pytest.approx(1, abs=1e-4)
    assert found["waits"]["waits"]["step"] == 0


@pytest.mark.slow
def test_the_gpu_script_names_what_it_had_no_time_for(tmp_path: Path) -> None:
    found = run_gpu_script(tmp_path, "0.01")
    parts = {name for name in found if name != "machine"}
    assert {name for name in parts if found[name].get("left out") == [name]} == parts


def test_a_shifted_threshold_is_found_and_a_failed_ranking_is_not_mended() -> None:
    shift = load_script(SHIFT)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    logs = rng.normal(size=(300, 3)) * 0.3
    logs[np.arange(300), labels] += 2.0
    good = np.exp(logs - np.log(np.exp(logs).sum(1, keepdims=True)))
    moved = np.exp(logs + np.array([0.0, 3.0, -2.0]))
    moved /= moved.sum(1, keepdims=True)
    names = ["a", "b", "c"]
    for p in (good, moved):
        expected = scores(p, labels, names)["macro"]["f1"]
        assert shift.macro_f1(p.argmax(1), labels, 3) == pytest.approx(expected)
    assert shift.macro_f1(good.argmax(1), labels, 3) > 0.99
    assert shift.macro_f1(moved.argmax(1), labels, 3) < 0.6
    cells = shift.measure(moved, labels, names, 20, 10)
    assert float(cells[3].split(" ")[0]) > 0.95
    assert float(cells[4]) > 0.99
    blind = np.full((300, 2), 0.5) + rng.normal(size=(300, 2)) * 1e-3
    cells = shift.measure(blind, labels % 2, names[:2], 20, 10)
    assert float(cells[4]) < 0.65
    chosen = shift.draw_films(labels, 20, rng)
    assert chosen.sum() == 20
    assert set(labels[chosen]) == {0, 1, 2}
