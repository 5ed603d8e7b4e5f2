"""Tasks as processes: order, number at once, failures, stops; small programs in their place."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isnet_cli.benchmark.launch import Launch, Process, Task, start
from isnet_cli.benchmark.logs import killed, log_of
from isnet_cli.benchmark.pool import Ended, Watch, run_tasks
from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import Bar, Progress, RunContext

POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
open(sys.argv[1], "w").close()
time.sleep(60)
"""


def task(name: str, *waits: str) -> Task:
    return Task(name, Config(), "evaluate", waits)


def programs(tmp_path: Path, texts: dict[str, str], order: list[str] | None = None) -> Launch:
    """Starts the program of each task; those without one end at once."""

    def launch(one: Task) -> Process:
        if order is not None:
            order.append(one.name)
        words = ["-S", "-c", texts.get(one.name, ""), str(tmp_path / f"{one.name}.began")]
        return start(words, log_of(tmp_path, one.name), 1)

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
    found = run_tasks(tasks, launch, RunContext(), jobs=1, current=["a"])
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


class Shown(Progress):
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
    shown = Shown()
    texts = {"b": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"}
    found = run_tasks(
        [task("a"), task("b"), task("c"), task("images")],
        programs(tmp_path, texts),
        RunContext(progress=shown, say=said.append),
        jobs=1,
        current=["c"],
        watch=Watch(
            describe=lambda one: "its last line",
            remark=lambda one: "a remark" if one.name == "a" else "",
            progress=lambda one: "1/3",
            counted=lambda one: one.name != "images",
            after=lambda ended: seen.append(sorted(ended)),
        ),
    )
    assert (found["b"].status, found["b"].error) == ("failed", killed(-9))
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
