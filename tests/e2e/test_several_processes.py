"""torchrun starts a command in two processes: one result, one writer, one error."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from isnet_cli.core.files import read_csv
from tests.cli.factory import isnet, write_inputs
from tests.house.rules import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # processes, each of which loads torch


TRAINED = ("train/history.csv", "train/model.safetensors")
# AdamW enlarges rounding of zeros, and a high rate that of all steps before
SMALL = (
    "--set", "train.optimizer.name=sgd", "--set", "train.optimizer.lr=0.0001", "--no-progress",
)  # fmt: skip


def start(place: Path, *words: str, count: int = 2, shell: str = "exec") -> subprocess.Popen[str]:
    """``torchrun --nproc-per-node COUNT -m isnet_cli WORDS`` in the folder `place`.

    Args:
        place: The folder.
        words: Of the command.
        count: Number of processes.
        shell: What stands before the command in each process's own shell.
    """
    paths = os.pathsep.join([str(ROOT), str(ROOT / "models")])
    command = f'{shell} {sys.executable} -m isnet_cli "$@"'
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone",
         f"--nproc-per-node={count}", "--no-python", "sh", "-c", command, "isnet", *words],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def torchrun(
    place: Path, *words: str, count: int = 2, shell: str = "exec"
) -> subprocess.CompletedProcess[str]:
    """As `start`, to its end."""
    with start(place, *words, count=count, shell=shell) as running:
        out, err = running.communicate(timeout=900)
    return subprocess.CompletedProcess(words, running.returncode, out, err)


def find_workers(place: Path) -> dict[int, int]:
    """Process number of each rank of commands in the folder `place`."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "environ").read_bytes().split(b"\0")
            named = dict(word.split(b"=", 1) for word in words if b"=" in word)
            if (folder / "cwd").resolve() == place.resolve() and b"RANK" in named:
                found.setdefault(int(named[b"RANK"]), int(folder.name))
    return found


def compare_trainings(ours: Path, theirs: Path) -> None:
    """Histories and weights are equal up to the rounding of float32."""
    histories = [read_csv(folder / TRAINED[0]) for folder in (ours, theirs)]
    assert len(histories[0]) == len(histories[1])
    for mine, other in zip(*histories, strict=True):
        for name in mine.keys() - {"seconds", "images_per_second"}:
            limit = 3e-2 if name == "train_norm" else 2e-3
            same = pytest.approx(float(other[name] or 0), rel=limit, abs=1e-6)
            assert float(mine[name] or 0) == same, name
    weights = [load_file(folder / TRAINED[1]) for folder in (ours, theirs)]
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], rtol=1e-3, atol=1e-4), name


def test_a_run_by_two_processes_is_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(tmp_path, 24)
    done = torchrun(tmp_path, "run", "c.yaml", "-o", "two", "--until", "heatmap", "--no-progress")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("heatmap   done") == 1
    monkeypatch.chdir(tmp_path)
    assert isnet("run", "c.yaml", "-o", "one", "--until", "masks").code == 0
    assert (tmp_path / "one/masks/qc.csv").read_text() == (
        tmp_path / "two/masks/qc.csv"
    ).read_text()
    images = {row["key"] for row in read_csv(tmp_path / "two/ingest/manifest.csv")}
    assert images == {row["key"] for row in read_csv(tmp_path / "one/ingest/manifest.csv")}
    predictions = read_csv(tmp_path / "two/evaluate/test/standard/predictions.csv")
    again = isnet("evaluate", "two", "--overwrite", "--set", "evaluate.batch_size=5")
    assert again.code == 0
    alone = read_csv(tmp_path / "two/evaluate/test/standard/predictions.csv")
    for ours, theirs in zip(predictions, alone, strict=True):
        assert float(ours["p_sick"]) == pytest.approx(float(theirs["p_sick"]), abs=1e-5)
    assert not list((tmp_path / "two").rglob(".unfinished-*"))


@pytest.mark.parametrize("count", [2, 4])
def test_the_default_recipe_is_trained_as_by_one_process(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(tmp_path, 24)
    words = ("train", "c.yaml", *SMALL, "--set", "train.epochs=4", "--set", "model.dropout=0.2")
    done = torchrun(tmp_path, *words, "-o", "many", count=count)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    assert isnet(*words, "-o", "one").code == 0
    phases = [row["phase"] for row in read_csv(tmp_path / "one" / TRAINED[0])]
    assert phases == ["1", "1", "2", "2"]  # background_mix, then the ISNet
    compare_trainings(tmp_path / "many", tmp_path / "one")


@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="finds processes in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all_and_another_number_goes_on(
    tmp_path: Path, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(tmp_path, 24)
    words = ("train", "c.yaml", *SMALL, "--set", "train.epochs=16")
    checkpoint = tmp_path / "many/train/before_1/last.ckpt"
    with start(tmp_path, *words, "-o", "many") as running:
        until = time.monotonic() + 600
        while not checkpoint.exists() and running.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        workers = find_workers(tmp_path)
        assert sorted(workers) == [0, 1]
        os.kill(workers[rank], signal.SIGKILL)
        _, said = running.communicate(timeout=300)
    assert running.returncode != 0
    errors = [line for line in said.splitlines() if line.startswith("error[")]
    assert len(errors) == 1, said
    assert "another process of this command has ended" in errors[0]
    assert find_workers(tmp_path) == {}
    assert not list((tmp_path / "many").rglob("report.html"))
    done = torchrun(tmp_path, *words, "-o", "many", count=3)
    assert done.returncode == 0, done.stderr
    assert "continuing after epoch" in done.stderr
    monkeypatch.chdir(tmp_path)
    assert isnet(*words, "-o", "one").code == 0
    compare_trainings(tmp_path / "many", tmp_path / "one")


def test_an_error_is_printed_once(tmp_path: Path) -> None:
    write_inputs(tmp_path, 12)
    train, run = ("train", "c.yaml", "--no-progress", "-o"), ("demo", "-q", "-o", "c")
    cases = [
        ((*train, "a"), 4, "exec", "a batch of 2 images for 4 processes"),
        ((*train, "b", "--set", "model.arch=resnet19"), 2, "exec", "unknown"),
        (run, 2, "exec", "isnet demo in several processes"),
        ((*train, "d"), 2, 'set -- "$@" --set seed=$RANK; exec', "process 1: the configuration is"),
    ]
    for words, count, shell, text in cases:
        done = torchrun(tmp_path, *words, count=count, shell=shell)
        assert done.returncode != 0
        lines = [line for line in done.stderr.splitlines() if line.startswith("error[")]
        assert len(lines) == 1, done.stderr
        assert text in lines[0]
