"""`isnet benchmark`: from the words to the tables, with processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isnet_cli.benchmark.cells import list_tasks
from isnet_cli.benchmark.pool import Launch
from isnet_cli.config.load import dump
from tests.benchmark.factory import in_process, loaded, write
from tests.cli.factory import isnet
from tests.support.paths import ROOT


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = ROOT
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), str(root / "models")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    file = write(tmp_path, methods="  standard: {}\n", seeds="0, 1")
    file.write_text(file.read_text() + "images_seed: 0\n")
    return file.relative_to(tmp_path)


@pytest.mark.slow
def test_two_cells_at_once_and_a_second_call(file: Path) -> None:
    done = isnet("benchmark", file, "--jobs", "2", "-d", "cpu", "--no-progress")
    assert done.code == 0, done.err
    assert "2 cells: 1 method, 2 seeds, 1 data setting" in done.err
    assert done.err.count(": done, ") == 3
    assert " (2 of 2)" in done.err
    assert Path("runs/tiny/compare-all.html").is_file()
    lines = done.out.splitlines()
    assert lines[0] == "test, i.i.d."
    assert lines[1].split() == [
        "method",
        "maF1",
        "macro",
        "AUC",
        "precision",
        "recall",
        "specificity",
    ]
    assert "±" in lines[2]
    assert lines[-2:] == ["page: runs/tiny/benchmark.md", "page: runs/tiny/compare-all.html"]
    again = isnet("benchmark", file, "-d", "cpu", "--json")
    document = again.document
    assert (again.code, document["verb"], document["status"]) == (0, "benchmark", "done")
    assert {cell["status"] for cell in document["cells"]} == {"current"}
    assert document["tables"][0]["kind"] == "domains"


def test_a_dry_run_writes_nothing(file: Path) -> None:
    done = isnet("benchmark", file, "-o", "out", "--dry-run")
    assert done.code == 0, done.err
    assert done.out.splitlines()[1].split(maxsplit=1) == ["images/all-seed-0", "would run"]
    assert not Path("out").exists()
    found = isnet("benchmark", file, "-o", "out", "--dry-run", "--json").document
    assert found["plan"]["cells/all/standard/seed-1"] == "new"


def test_check_looks_at_the_images_of_a_benchmark(file: Path) -> None:
    found = isnet("check", file, "--limit", "0", "--json").document
    assert found["ok"]
    assert found["images"]["found"] > 0
    assert isnet("check", file, "--labels", "a.csv").code == 2
    assert isnet("check", file, "--set", "train.epoch=3").code == 3


def test_stopping_by_the_clock_says_how_to_go_on(file: Path) -> None:
    done = isnet("benchmark", file, "-o", "out", "--stop-after", "0s", "--json")
    assert done.code == 0
    assert done.document["status"] == "incomplete"
    assert "stopped in good order; to continue:" in done.err


@pytest.mark.slow
def test_a_signal_stops_the_cells_in_good_order(file: Path) -> None:
    bench, grid = loaded(file, Path("out"))
    in_process(Path("out").absolute())(list_tasks(bench, grid)[0])  # the images
    (Path("out") / "benchmark.yaml").write_text(dump(bench))
    words = [sys.executable, "-m", "isnet_cli.cli.app", "benchmark", str(file), "-o", "out"]
    words += ["--set", "train.epochs=500", "-d", "cpu", "--json"]
    cell = Path("out/cells/all/standard/seed-0/train/last.ckpt")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not cell.is_file():
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, (out, err)
    assert cell.is_file()
    if b'"kind": "stopped"' in out:
        return  # a machine too busy to stop in good order within the time that a signal leaves
    assert b'"incomplete"' in out
    log = Path("out/logs/cells--all--standard--seed-0.log").read_text()
    assert "stopped in good order" in log


def test_failures_have_their_codes(file: Path, tmp_path: Path) -> None:
    assert isnet("benchmark").code == 2
    assert isnet("benchmark", "none.yaml").code == 3
    assert isnet("benchmark", file, "--set", "train.epoch=3").code == 3
    assert isnet("benchmark", file, "--set", "data.images=none").code == 4
    assert isnet("benchmark", file, "--jobs", "0").code == 2
    inside = isnet("benchmark", file, "-o", "xrays/out")
    assert (inside.code, "never written to" in inside.err) == (2, True)


def test_failed_cells_are_named_and_have_their_code(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_launcher(output: Path, threads: int, *, overwrite: bool) -> Launch:
        return in_process(output, overwrite=overwrite)

    monkeypatch.setattr("isnet_cli.benchmark.run.make_launcher", make_launcher)
    done = isnet(
        "benchmark", file, "-o", "out", "--set", "train.class_weights=[1.0]", "--no-progress"
    )
    assert done.code == 7, done.err
    assert "warning[benchmark]: cells/all/standard/seed-0: error[config]: train.class" in done.err
    assert done.out.splitlines()[0] == "not done:"
