"""Runs tasks as processes of their own, several at once, each after those that it waits for."""

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
from types import MappingProxyType
from typing import Any, Literal, Protocol

from pydantic import Field

from isnet_cli.config.load import dump
from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_text
from isnet_cli.core.records.read import Record, parse_json, read_record
from isnet_cli.core.run_context import PARENT, Bar, RunContext
from isnet_cli.errors import EXIT_INTERRUPTED, EXIT_SKIPPED, EXIT_TERMINATED, IsnetError
from isnet_cli.guard.opening import open_regular, read_text

EVENTS = "log.jsonl"  # of a run
TAIL = 4096  # bytes that hold the last event
POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0  # between asking a process to stop at once and ending it
SHOWN = 3  # names beside the bar
LOOK_SECONDS = 2.0  # between two looks at how far the running ones are
STOPPED = (EXIT_INTERRUPTED, EXIT_TERMINATED)
Status = Literal["current", "done", "failed", "blocked", "stopped"]


class TaskError(Record):
    """Why a command ended with an error."""

    kind: str
    message: str = ""
    details: list[str] = Field(default_factory=list)


class TaskDocument(Record):
    """What a command prints with ``--json``, as far as it is shown again."""

    warnings: list[Any] = Field(default_factory=list)
    error: TaskError | None = None


def locate_log(output: Path, name: str) -> Path:
    """Where a task's messages are kept."""
    return output / "logs" / f"{name.replace('/', '--')}.log"  # no name has two dashes


def read_progress(run: Path, epochs: int) -> str:
    """Where a run is: ``12/30`` epochs of its training, the name of its stage, or "".

    Args:
        run: Its folder.
        epochs: Of a whole training.
    """
    try:
        with open_regular(run / EVENTS) as file:
            file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            event = parse_json(file.read().splitlines()[-1].decode())
        if event["event"] == "epoch":
            return f"{event['epoch']:.0f}/{epochs}"
        return str(event.get("stage", "")) if event["event"] == "stage_started" else ""
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ""  # not there yet, or a line that is being written


def format_duration(seconds: float) -> str:
    """A duration: ``75 s``, ``12 min``, ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def describe_signal(code: int) -> str:
    """What a process says nothing about: the signal that ended it."""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"ended by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")


def count_warnings(output: Path, name: str) -> str:
    """How many warnings a finished task printed, and where they are; "" without any."""
    log = locate_log(output, name)
    document = log.with_suffix(".json")
    if not document.is_file():
        return ""
    try:
        count = len(
            read_record(document, TaskDocument, what="a command's result", fix="")["warnings"]
        )
    except IsnetError as error:
        return error.message
    return f"{count} warning{'' if count == 1 else 's'}, see {log}" if count else ""


def read_failure(output: Path, name: str) -> str:
    """The error line of a task that failed: of its document, else the last line it printed."""
    log = locate_log(output, name)
    try:
        document = read_record(
            log.with_suffix(".json"), TaskDocument, what="a command's result", fix=""
        )
        found: Mapping[str, Any] = document["error"]
        fault = f"error[{found['kind']}]: {found.get('message', '')}"
        details = [f"; {line}" for line in found.get("details", [])[:1]]
        return "".join([fault, *details])
    except (IsnetError, KeyError, TypeError):
        text = read_text(log, errors="replace") if log.is_file() else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


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


def make_launcher(output: Path, threads: int, *, overwrite: bool) -> Launch:
    """Starts ``isnet run`` for a task; what it prints goes to ``logs/``.

    Args:
        output: The benchmark's folder.
        threads: Processor threads of each process.
        overwrite: Replace finished results of other settings.
    """

    def launch(task: Task) -> Process:
        words = prepare_task(task, output, threads, overwrite=overwrite)
        return start_process(
            ["-m", "isnet_cli.cli.app", *words], locate_log(output, task.name), threads
        )

    return launch


def prepare_task(task: Task, output: Path, threads: int, *, overwrite: bool) -> list[str]:
    """Writes the task's configuration into its run; the words after ``isnet`` that do it."""
    folder = output / task.name
    write_text(folder / "isnet.yaml", dump(task.config))
    words = ["run", str(folder / "isnet.yaml"), "-o", str(folder), "--until", task.until]
    words += ["--json", "--no-progress", *(["--overwrite"] if overwrite else [])]
    if task.config.machine.workers is None:
        words += ["-j", str(min(4, threads))]
    return words


def start_process(words: Sequence[str], log: Path, threads: int) -> subprocess.Popen[bytes]:
    """Starts this Python with `words`, in a process group that the terminal's Ctrl-C spares.

    An `isnet` stops in good order once this process is gone, however that came about.

    Args:
        words: Arguments of the interpreter.
        log: Where stderr goes; stdout goes beside it, as ``.json``.
        threads: Processor threads.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), PARENT: str(os.getpid())}
    for old in (log, log.with_suffix(".json")):
        old.unlink(missing_ok=True)  # whatever it is: a pipe would wait for a reader
    with log.open("wb") as err, log.with_suffix(".json").open("wb") as out:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env=environment, start_new_session=True,
        )  # fmt: skip


def share_threads(jobs: int) -> int:
    """Processor threads of each of `jobs` processes: OMP_NUM_THREADS where it is set."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // jobs)


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


@dataclass(frozen=True)
class Watch:
    """What to report about tasks while they run.

    Attributes:
        describe: Why a task failed, once it did.
        remark: A remark on a task, once it is done.
        progress: How far a running task is, for the bar.
        counted: Whether the bar counts a task.
        after: Called with all that has ended, each time that a counted task is done.
    """

    describe: Callable[[Task], str] = lambda task: ""
    remark: Callable[[Task], str] = lambda task: ""
    progress: Callable[[Task], str] = lambda task: ""
    counted: Callable[[Task], bool] = lambda task: True
    after: Callable[[Mapping[str, Ended]], None] = lambda ended: None


def run_tasks(
    tasks: Sequence[Task],
    launch: Launch,
    context: RunContext,
    *,
    jobs: int,
    ended: Mapping[str, Ended] = MappingProxyType({}),
    watch: Watch = Watch(),
) -> dict[str, Ended]:
    """Brings all tasks to an end; a failure is noted and the others go on.

    Once a stop is asked for, no further task starts and the running ones are asked to stop in good
    order; when this call is broken off, they are ended.

    Args:
        tasks: The tasks; none waits for itself.
        launch: Starts one.
        context: Side effects.
        jobs: How many run at once.
        ended: What became of tasks before this call, by name: nothing is done about them.
        watch: What to report about them.

    Returns:
        `ended`, and what became of the others.
    """
    pool = _Pool(tasks, launch, context, jobs, watch)
    pool.ended = dict(ended)
    pool.count = sum(watch.counted(task) for task in tasks if task.name in pool.ended)
    with context.progress.bar("benchmark", pool.total) as bar:
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
        context: RunContext,
        jobs: int,
        watch: Watch,
    ) -> None:
        self.tasks, self.launch, self.context, self.jobs = tasks, launch, context, jobs
        self.watch, self._shown, self._looked = watch, "", -LOOK_SECONDS
        self.total, self.count = sum(watch.counted(task) for task in tasks), 0
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
        stopping = self.context.stop_requested()
        if stopping and not self._asked:
            self._asked = True
            self._signal()
        for task in self.tasks:
            if task.name in self.ended or task.name in self.running:
                continue
            states = [self.ended[name].status for name in task.waits if name in self.ended]
            lost = [n for n in task.waits if n in self.ended and not _is_good(self.ended[n])]
            if stopping or "stopped" in states:
                self._note(task, Ended("stopped"), bar)
            elif lost:
                self._note(task, Ended("blocked", error=f"waits for {lost[0]}, which failed"), bar)
            elif len(states) == len(task.waits) and len(self.running) < self.jobs:
                self.running[task.name] = (task, self.launch(task), time.monotonic())
        bar.advance(0, running=self._running())
        return any(task.name not in self.ended for task in self.tasks)

    def _running(self) -> str:
        """Names of the running tasks, and how far they are."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            tasks = [task for task, _, _ in self.running.values()]
            names = [f"{t.name.partition('/')[2]} {self.watch.progress(t)}".rstrip() for t in tasks]
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            self._shown = ", ".join(names[:SHOWN]) + more
        return self._shown

    def _outcome(self, task: Task, code: int, seconds: float) -> Ended:
        if code in (0, EXIT_SKIPPED):
            return Ended("done", code, seconds)
        if code in STOPPED or (self._asked and code == -signal.SIGTERM):
            return Ended("stopped", code, seconds)
        error = (
            describe_signal(code)
            if code < 0
            else self.watch.describe(task) or f"ended with code {code}"
        )
        return Ended("failed", code, seconds, error)

    def _note(self, task: Task, ended: Ended, bar: Bar) -> None:
        self.ended[task.name] = ended
        counts = self.watch.counted(task) and ended.status != "stopped"
        self.count += counts
        if ended.status in ("failed", "blocked"):
            self.context.warn("benchmark", f"{task.name}: {ended.error}")
        elif ended.seconds is not None:
            place = f" ({self.count} of {self.total})" if counts else ""
            remark = self.watch.remark(task) if ended.status == "done" else ""
            more = f"; {remark}" if remark else ""
            self.context.say(
                f"{task.name}: {ended.status}, {format_duration(ended.seconds)}{place}{more}"
            )
        if counts:
            bar.advance()
            if ended.status == "done":
                self.watch.after(self.ended)

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


def _is_good(ended: Ended) -> bool:
    return ended.status in ("current", "done")
