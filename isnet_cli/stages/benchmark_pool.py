"""Runs tasks as processes of their own, some at once, each after those that it waits for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from isnet_cli.config.load import dump
from isnet_cli.config.schema import Config
from isnet_cli.errors import EXIT_INTERRUPTED, EXIT_SKIPPED, EXIT_TERMINATED
from isnet_cli.ports import PARENT, Bar, Ports
from isnet_cli.runs.files import write_text
from isnet_cli.stages.benchmark_logs import killed, lasted, log_of

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0  # between asking a process to stop at once and ending it
SHOWN = 3  # names beside the bar
LOOK_SECONDS = 2.0  # between two looks at how far the running ones are
STOPPED = (EXIT_INTERRUPTED, EXIT_TERMINATED)
Status = Literal["current", "done", "failed", "blocked", "stopped"]


@dataclass(frozen=True)
class Task:
    """One run to bring up to date.

    Attributes:
        name: Its folder below the benchmark's.
        config: Its pipeline.
        until: Last stage.
        waits: Names of tasks that must be done before.
    """

    name: str
    config: Config
    until: str
    waits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """What became of a task.

    Attributes:
        status: ``current``, ``done``, ``failed``; ``blocked``: it waits for one that failed;
            ``stopped``: not finished, the same command continues.
        code: Exit code, None where no process was started.
        seconds: Duration of its process.
        error: The line that says what failed, or "".
    """

    status: Status
    code: int | None = None
    seconds: float | None = None
    error: str = ""


class Process(Protocol):
    """A started task, as `subprocess.Popen` is one."""

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        ...

    def send_signal(self, number: int, /) -> None:
        """Sends a signal; nothing happens once it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end.

        Raises:
            subprocess.TimeoutExpired: It did not end in time.
        """
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


Launch = Callable[[Task], Process]


def launcher(output: Path, threads: int, *, overwrite: bool) -> Launch:
    """Starts ``isnet run`` for a task; what it prints goes to ``logs/``.

    Args:
        output: The benchmark's folder.
        threads: Processor threads of each process.
        overwrite: Replace finished results of other settings.
    """

    def launch(task: Task) -> Process:
        words = prepare(task, output, threads, overwrite=overwrite)
        return start(["-m", "isnet_cli.cli.app", *words], log_of(output, task.name), threads)

    return launch


def prepare(task: Task, output: Path, threads: int, *, overwrite: bool) -> list[str]:
    """Writes the task's configuration into its run; the words after ``isnet`` that do it."""
    folder = output / task.name
    write_text(folder / "isnet.yaml", dump(task.config))
    words = ["run", str(folder / "isnet.yaml"), "-o", str(folder), "--until", task.until]
    words += ["--json", "--no-progress", *(["--overwrite"] if overwrite else [])]
    if task.config.machine.workers is None:
        words += ["-j", str(min(4, threads))]
    return words


def start(words: Sequence[str], log: Path, threads: int) -> subprocess.Popen[bytes]:
    """Starts this Python with `words`, in a process group that the terminal's Ctrl-C spares.

    An `isnet` stops in good order once this process is gone, however that came about.

    Args:
        words: Arguments of the interpreter.
        log: Where stderr goes; stdout goes beside it, as ``.json``.
        threads: Processor threads.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), PARENT: str(os.getpid())}
    with log.open("wb") as err, log.with_suffix(".json").open("wb") as out:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env=environment, start_new_session=True,
        )  # fmt: skip


def threads_each(jobs: int) -> int:
    """Processor threads of each of `jobs` processes: OMP_NUM_THREADS where it is set."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // jobs)


def run_tasks(
    tasks: Sequence[Task],
    launch: Launch,
    ports: Ports,
    *,
    jobs: int,
    current: Sequence[str] = (),
    describe: Callable[[Task], str] = lambda task: "",
    remark: Callable[[Task], str] = lambda task: "",
    progress: Callable[[Task], str] = lambda task: "",
    counted: Callable[[Task], bool] = lambda task: True,
    after: Callable[[Mapping[str, Ended]], None] = lambda ended: None,
) -> dict[str, Ended]:
    """Brings all tasks to an end; a failure is noted and the others go on.

    Once a stop is asked for, no further task starts and the running ones are asked to stop in good
    order; when this call is broken off, they are ended.

    Args:
        tasks: The tasks; none waits for itself.
        launch: Starts one.
        ports: Side effects.
        jobs: How many run at once.
        current: Names of tasks that have nothing to do.
        describe: Why a task failed, once it did.
        remark: What there is to say of a task, once it is done.
        progress: How far a running task is, for the bar.
        counted: Whether the bar counts a task.
        after: Called with all that has ended, each time that a counted task is done.
    """
    pool = _Pool(tasks, launch, ports, jobs, describe, remark, progress, counted, after)
    pool.ended = {name: Ended("current") for name in current}
    pool.count = sum(counted(task) for task in tasks if task.name in pool.ended)
    with ports.progress.bar("benchmark", pool.total) as bar:
        bar.advance(pool.count)
        try:
            while pool.work(bar):
                time.sleep(POLL_SECONDS)
        finally:
            pool.end()
    return pool.ended


class _Pool:
    """Tasks that wait, run and have ended."""

    def __init__(
        self,
        tasks: Sequence[Task],
        launch: Launch,
        ports: Ports,
        jobs: int,
        describe: Callable[[Task], str],
        remark: Callable[[Task], str],
        progress: Callable[[Task], str],
        counted: Callable[[Task], bool],
        after: Callable[[Mapping[str, Ended]], None],
    ) -> None:
        self.tasks, self.launch, self.ports, self.jobs = tasks, launch, ports, jobs
        self.describe, self.remark, self.counted, self.after = describe, remark, counted, after
        self.progress, self._shown, self._looked = progress, "", -LOOK_SECONDS
        self.total, self.count = sum(counted(task) for task in tasks), 0
        self.ended: dict[str, Ended] = {}
        self.running: dict[str, tuple[Task, Process, float]] = {}
        self._asked = False

    def work(self, bar: Bar) -> bool:
        """One round; False when nothing is left to do."""
        for name, (task, process, began) in list(self.running.items()):
            code = process.poll()
            if code is not None:
                del self.running[name]
                self._note(task, self._outcome(task, code, time.monotonic() - began), bar)
        stopping = self.ports.stop_requested()
        if stopping and not self._asked:
            self._asked = True
            self._signal()
        for task in self.tasks:
            if task.name in self.ended or task.name in self.running:
                continue
            states = [self.ended[name].status for name in task.waits if name in self.ended]
            lost = [n for n in task.waits if n in self.ended and not _good(self.ended[n])]
            if stopping or "stopped" in states:
                self._note(task, Ended("stopped"), bar)
            elif lost:
                self._note(task, Ended("blocked", error=f"waits for {lost[0]}, which failed"), bar)
            elif len(states) == len(task.waits) and len(self.running) < self.jobs:
                self.running[task.name] = (task, self.launch(task), time.monotonic())
        bar.advance(0, running=self._running())
        return len(self.ended) < len({task.name for task in self.tasks})

    def _running(self) -> str:
        """Names of the running tasks, and how far they are."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            tasks = [task for task, _, _ in self.running.values()]
            names = [f"{t.name.partition('/')[2]} {self.progress(t)}".rstrip() for t in tasks]
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            self._shown = ", ".join(names[:SHOWN]) + more
        return self._shown

    def _outcome(self, task: Task, code: int, seconds: float) -> Ended:
        if code in (0, EXIT_SKIPPED):
            return Ended("done", code, seconds)
        if code in STOPPED or (self._asked and code == -signal.SIGTERM):
            return Ended("stopped", code, seconds)
        error = killed(code) if code < 0 else self.describe(task) or f"ended with code {code}"
        return Ended("failed", code, seconds, error)

    def _note(self, task: Task, ended: Ended, bar: Bar) -> None:
        self.ended[task.name] = ended
        counts = self.counted(task) and ended.status != "stopped"
        self.count += counts
        if ended.status in ("failed", "blocked"):
            self.ports.warn("benchmark", f"{task.name}: {ended.error}")
        elif ended.seconds is not None:
            place = f" ({self.count} of {self.total})" if counts else ""
            more = f"; {self.remark(task)}" if ended.status == "done" and self.remark(task) else ""
            self.ports.say(f"{task.name}: {ended.status}, {lasted(ended.seconds)}{place}{more}")
        if counts:
            bar.advance()
            if ended.status == "done":
                self.after(self.ended)

    def _signal(self) -> None:
        for _, process, _ in self.running.values():
            process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Ends what still runs: at once, but whole files only."""
        self._signal()
        if not self._asked:
            self._signal()  # the second one means: at once
        deadline = time.monotonic() + GRACE_SECONDS
        for _, process, _ in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
                continue
            process.kill()
            process.wait()
        self.running.clear()


def _good(ended: Ended) -> bool:
    return ended.status in ("current", "done")
