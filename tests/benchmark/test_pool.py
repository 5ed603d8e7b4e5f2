"""Tasks as processes: logs, starting, order, failures, stopping."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isnet_cli.benchmark.pool import (
    EVENTS,
    Ended,
    Launch,
    Process,
    Task,
    Watch,
    count_warnings,
    describe_signal,
    format_duration,
    locate_log,
    prepare_task,
    read_failure,
    read_progress,
    run_tasks,
    share_threads,
    start_process,
)
from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import Bar, Progress, RunContext

POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
open(sys.argv[1], "w").close()
time.sleep(60)
"""


def test_how_far_a_run_is(tmp_path: Path) -> None:
    assert read_progress(tmp_path, 30) == ""
    events = tmp_path / EVENTS
    events.write_text("")
    assert read_progress(tmp_path, 30) == ""
    lines = [{"event": "stage_started", "stage": "train"}]
    events.write_text(json.dumps(lines[0]) + "\n")
    assert read_progress(tmp_path, 30) == "train"
    lines += [{"event": "epoch", "epoch": float(n), "more": "x" * 500} for n in range(1, 13)]
    whole = "".join(json.dumps(line) + "\n" for line in lines)
    events.write_text(whole)
    assert read_progress(tmp_path, 30) == "12/30"
    events.write_text(whole + '{"event": "epo')
    assert read_progress(tmp_path, 30) == ""
    for other in ('{"event": "stage_done", "stage": "train"}', "3", '{"event": "epoch"}'):
        events.write_text(whole + other)
        assert read_progress(tmp_path, 30) == ""


def test_words_for_times_and_signals() -> None:
    assert [format_duration(s) for s in (75, 700, 9000)] == ["75 s", "12 min", "2.5 h"]
    assert describe_signal(-signal.SIGKILL) == "ended by SIGKILL, as when memory runs out"
    assert describe_signal(-signal.SIGSEGV) == "ended by SIGSEGV"
    assert describe_signal(-250) == "ended by signal 250"


def test_warnings_of_a_task_are_counted(tmp_path: Path) -> None:
    log = locate_log(tmp_path, "images/a")
    assert count_warnings(tmp_path, "images/a") == ""
    log.parent.mkdir()
    log.with_suffix(".json").write_text(json.dumps({"warnings": []}))
    assert count_warnings(tmp_path, "images/a") == ""
    log.with_suffix(".json").write_text(json.dumps({"warnings": ["x", "y"]}))
    assert count_warnings(tmp_path, "images/a") == f"2 warnings, see {log}"


def test_the_line_of_a_failure(tmp_path: Path) -> None:
    log = locate_log(tmp_path, "cells/a/b/seed-0")
    assert log == tmp_path / "logs" / "cells--a--b--seed-0.log"
    assert read_failure(tmp_path, "cells/a/b/seed-0") == ""
    log.parent.mkdir()
    log.write_text("one\nKilled\n\n")
    assert read_failure(tmp_path, "cells/a/b/seed-0") == "Killed"
    fault = {"kind": "data", "message": "no image", "details": ["x.csv:3"], "fix": ""}
    log.with_suffix(".json").write_text(json.dumps({"error": fault}))
    assert read_failure(tmp_path, "cells/a/b/seed-0") == "error[data]: no image; x.csv:3"


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
        "from isnet_cli.benchmark.pool import start_process\n"
        "start_process(['-c', sys.argv[1], *sys.argv[2:4]], Path(sys.argv[4]), 1)\n"
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
    words = prepare_task(one, tmp_path, 3, overwrite=False)
    record = tmp_path / one.name / "isnet.yaml"
    assert words[:4] == ["run", str(record), "-o", str(record.parent)]
    assert words[4:] == ["--until", "evaluate", "--json", "--no-progress", "-j", "3"]
    assert "name: isnet" in record.read_text()
    assert "--overwrite" in prepare_task(one, tmp_path, 3, overwrite=True)


def test_jobs_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert share_threads(2) == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for nested in ("", "4,2"):  # no plain number
        monkeypatch.setenv("OMP_NUM_THREADS", nested)
        assert share_threads(1) == 8
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert (share_threads(1), share_threads(3), share_threads(20)) == (8, 2, 1)


def test_threads_and_prints_of_a_process(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    text = "import os, sys; print(os.environ['OMP_NUM_THREADS']); print('e', file=sys.stderr)"
    assert start_process(["-c", text], log, 3).wait(30) == 0
    assert (log.read_text(), log.with_suffix(".json").read_text()) == ("e\n", "3\n")


def task(name: str, *waits: str) -> Task:
    return Task(name, Config(), "evaluate", waits)


def programs(tmp_path: Path, texts: dict[str, str], order: list[str] | None = None) -> Launch:
    """Starts the program of each task; those without one end at once."""

    def launch(one: Task) -> Process:
        if order is not None:
            order.append(one.name)
        words = ["-S", "-c", texts.get(one.name, ""), str(tmp_path / f"{one.name}.began")]
        return start_process(words, locate_log(tmp_path, one.name), 1)

    return launch


def test_tasks_wait_for_what_they_need(tmp_path: Path) -> None:
    order: list[str] = []
    tasks = [task("c", "b"), task("b", "a"), task("a"), task("d")]
    found = run_tasks(tasks, programs(tmp_path, {}, order), RunContext(), jobs=1)
    assert order.index("a") < order.index("b") < order.index("c")
    assert {name: one.status for name, one in found.items()} == dict.fromkeys("abcd", "done")
    assert all(one.seconds is not None for one in found.values())


def test_a_failure_is_noted_and_the_others_go_on(tmp_path: Path) -> None:
    warned: list[str] = []
    context = RunContext(warn=lambda category, text: warned.append(f"{category}: {text}"))
    texts = {"a": "import sys; sys.exit(4)", "s": "import sys; sys.exit(7)"}
    tasks = [task("a"), task("b", "a"), task("c", "b"), task("d"), task("s")]
    found = run_tasks(
        tasks,
        programs(tmp_path, texts),
        context,
        jobs=2,
        watch=Watch(describe=lambda t: f"{t.name} broke"),
    )
    assert found["a"] == Ended("failed", 4, found["a"].seconds, "a broke")
    assert found["b"] == Ended("blocked", error="waits for a, which failed")
    assert found["c"].status == "blocked"
    assert (found["d"].status, found["s"].status) == ("done", "done")
    assert warned[0] == "benchmark: a: a broke"
    assert len(warned) == 3


def test_at_most_so_many_run_at_once(tmp_path: Path) -> None:
    class Counted:
        alive, most = 0, 0

        def __init__(self) -> None:
            Counted.alive += 1
            Counted.most = max(Counted.most, Counted.alive)
            self.rounds = 0

        def poll(self) -> int | None:
            self.rounds += 1
            if self.rounds < 3:
                return None
            Counted.alive -= 1
            return 0

        def send_signal(self, number: int, /) -> None:
            raise AssertionError

        def wait(self, timeout: float | None = None) -> int:
            raise AssertionError

        def kill(self) -> None:
            raise AssertionError

    found = run_tasks([task(n) for n in "abcde"], lambda one: Counted(), RunContext(), jobs=2)
    assert len(found) == 5
    assert Counted.most == 2


def test_current_tasks_are_not_started_and_let_others_begin(tmp_path: Path) -> None:
    order: list[str] = []
    tasks = [task("a"), task("b", "a")]
    launch = programs(tmp_path, {}, order)
    found = run_tasks(tasks, launch, RunContext(), jobs=1, ended={"a": Ended("current")})
    assert order == ["b"]
    assert found["a"] == Ended("current")


def test_a_stop_asks_the_running_ones_and_starts_no_others(tmp_path: Path) -> None:
    began = tmp_path / "a.began"
    context = RunContext(stop_requested=began.exists)
    tasks = [task("a"), task("b"), task("c", "a")]
    found = run_tasks(tasks, programs(tmp_path, {"a": POLITE}), context, jobs=1)
    assert (found["a"].status, found["a"].code) == ("stopped", 143)
    assert (found["b"], found["c"]) == (Ended("stopped"), Ended("stopped"))


def test_a_process_that_was_stopped_before_it_listened_is_stopped(tmp_path: Path) -> None:
    deaf = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"
    context = RunContext(stop_requested=(tmp_path / "a.began").exists)
    found = run_tasks([task("a")], programs(tmp_path, {"a": deaf}), context, jobs=1)
    assert (found["a"].status, found["a"].code) == ("stopped", -signal.SIGTERM)


class ShownScore(Progress):
    """Keeps what the bar is told."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.count = 0

    @contextlib.contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar]:
        assert (description, total) == ("benchmark", 3)
        yield self

    def advance(self, steps: int = 1, **figures: float | str) -> None:
        self.count += steps
        self.running += [str(figures["running"])] if "running" in figures else []


def test_what_is_said_of_each_and_done_after_it(tmp_path: Path) -> None:
    said: list[str] = []
    seen: list[list[str]] = []
    shown = ShownScore()
    texts = {"b": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"}
    found = run_tasks(
        [task("a"), task("b"), task("c"), task("images")],
        programs(tmp_path, texts),
        RunContext(progress=shown, say=said.append),
        jobs=1,
        ended={"c": Ended("current")},
        watch=Watch(
            describe=lambda one: "its last line",
            remark=lambda one: "a remark" if one.name == "a" else "",
            progress=lambda one: "1/3",
            counted=lambda one: one.name != "images",
            after=lambda ended: seen.append(sorted(ended)),
        ),
    )
    assert (found["b"].status, found["b"].error) == ("failed", describe_signal(-9))
    assert said == ["a: done, 0 s (2 of 3); a remark", "images: done, 0 s"]
    assert seen == [["a", "c"]]
    assert shown.running[0].endswith(" 1/3")
    assert shown.count == 3


def test_an_interruption_leaves_no_process_behind(tmp_path: Path) -> None:
    processes: list[Process] = []
    launch = programs(tmp_path, {"a": POLITE})

    def watched(one: Task) -> Process:
        processes.append(launch(one))
        return processes[-1]

    def interrupt() -> bool:
        if (tmp_path / "a.began").exists():
            raise KeyboardInterrupt
        return False

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_tasks([task("a")], watched, RunContext(stop_requested=interrupt), jobs=1)
    assert processes[0].poll() is not None
    assert time.monotonic() - began < 20
