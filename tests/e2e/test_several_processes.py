"""torchrun starts a command in two processes: one result, one writer, one error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from isnet_cli.core.files import read_csv
from tests.cli.factory import isnet, write_inputs
from tests.house.rules import ROOT

pytestmark = pytest.mark.slow  # processes, each of which loads torch


def torchrun(place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``torchrun --nproc-per-node 2 -m isnet_cli WORDS`` in the folder `place`."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "models")])
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "isnet_cli", *words],
        cwd=place, capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


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


def test_an_error_is_printed_once(tmp_path: Path) -> None:
    write_inputs(tmp_path, 12)
    for words, text in (
        (["train", "c.yaml", "-o", "a", "--set", "train.method=gain"], "looks at all images of a"),
        (["train", "c.yaml", "-o", "b", "--set", "model.arch=resnet19"], "unknown"),
        (["demo", "-o", "c"], "isnet demo in several processes"),
    ):
        done = torchrun(tmp_path, *words, "--no-progress" if words[0] != "demo" else "-q")
        assert done.returncode != 0
        lines = [line for line in done.stderr.splitlines() if line.startswith("error[")]
        assert len(lines) == 1, done.stderr
        assert text in lines[0]
