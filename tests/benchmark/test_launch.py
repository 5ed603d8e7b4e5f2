"""What a task of a benchmark is started with, and its end when the starter is gone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from isnet_cli.benchmark.launch import Task, prepare, start, threads_each
from isnet_cli.config.schema import Config


def test_an_isnet_stops_when_the_program_that_started_it_is_gone(tmp_path: Path) -> None:
    child = (
        "import sys, time; from isnet_cli.cli.options import ScreenOptions; "
        "from isnet_cli.cli.session import Session; s = Session('x', ScreenOptions())\n"
        "open(sys.argv[1], 'w').close()\n"
        "end = time.monotonic() + 30\n"
        "while not s.stop_requested():\n"
        "    if time.monotonic() > end: sys.exit(1)\n"
        "    time.sleep(0.05)\n"
        "open(sys.argv[2], 'w').close()\n"
    )
    began, ended = tmp_path / "began", tmp_path / "ended"
    parent = (
        "import os, sys, time; from pathlib import Path; "
        "from isnet_cli.benchmark.launch import start\n"
        "start(['-c', sys.argv[1], *sys.argv[2:4]], Path(sys.argv[4]), 1)\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.05)\n"
        "time.sleep(0.3)\n"
        "print(os.path.exists(sys.argv[3]), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    words = [sys.executable, "-c", parent, child, str(began), str(ended), str(tmp_path / "c.log")]
    found = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert (found.returncode, found.stdout.strip()) == (-9, b"False"), found.stderr
    deadline = time.monotonic() + 20
    while not ended.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ended.exists()


def test_what_a_task_is_started_with(tmp_path: Path) -> None:
    one = Task("cells/d/m/seed-0", Config(), "evaluate")
    words = prepare(one, tmp_path, 3, overwrite=False)
    record = tmp_path / one.name / "isnet.yaml"
    assert words[:4] == ["run", str(record), "-o", str(record.parent)]
    assert words[4:] == ["--until", "evaluate", "--json", "--no-progress", "-j", "3"]
    assert "name: isnet" in record.read_text()
    assert "--overwrite" in prepare(one, tmp_path, 3, overwrite=True)


def test_jobs_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_each(2) == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for nested in ("", "4,2"):  # no plain number
        monkeypatch.setenv("OMP_NUM_THREADS", nested)
        assert threads_each(1) == 8
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert (threads_each(1), threads_each(3), threads_each(20)) == (8, 2, 1)


def test_threads_and_prints_of_a_process(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    text = "import os, sys; print(os.environ['OMP_NUM_THREADS']); print('e', file=sys.stderr)"
    assert start(["-c", text], log, 3).wait(30) == 0
    assert (log.read_text(), log.with_suffix(".json").read_text()) == ("e\n", "3\n")
