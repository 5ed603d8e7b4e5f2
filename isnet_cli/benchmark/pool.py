"""Runs tasks as processes of their own, some at once, each after those that it waits for."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from isnet_cli.benchmark.launch import Launch, Process, Task
from isnet_cli.benchmark.logs import killed, lasted
from isnet_cli.core.run_context import Bar, RunContext
from isnet_cli.errors import EXIT_INTERRUPTED, EXIT_SKIPPED, EXIT_TERMINATED

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0  # between asking a process to stop at once and ending it
SHOWN = 3  # names beside the bar
LOOK_SECONDS = 2.0  # between two looks at how far the running ones are
STOPPED = (EXIT_INTERRUPTED, EXIT_TERMINATED)
Status = Literal["current", "done", "failed", "blocked", "stopped"]


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
    """What is said of tasks while they run.

    Attributes:
        describe: Why a task failed, once it did.
        remark: What there is to say of a task, once it is done.
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
    current: Sequence[str] = (),
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
        current: Names of tasks that have nothing to do.
        watch: What is said of them.
    """
    pool = _Pool(tasks, launch, context, jobs, watch)
    pool.ended = {name: Ended("current") for name in current}
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
            names = [f"{t.name.partition('/')[2]} {self.watch.progress(t)}".rstrip() for t in tasks]
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            self._shown = ", ".join(names[:SHOWN]) + more
        return self._shown

    def _outcome(self, task: Task, code: int, seconds: float) -> Ended:
        if code in (0, EXIT_SKIPPED):
            return Ended("done", code, seconds)
        if code in STOPPED or (self._asked and code == -signal.SIGTERM):
            return Ended("stopped", code, seconds)
        error = killed(code) if code < 0 else self.watch.describe(task) or f"ended with code {code}"
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
            self.context.say(f"{task.name}: {ended.status}, {lasted(ended.seconds)}{place}{more}")
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


def _good(ended: Ended) -> bool:
    return ended.status in ("current", "done")
