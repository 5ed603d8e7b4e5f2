"""Work on many files in several processes; one that dies or hangs costs one file, not the batch.

Each process has a budget of time and memory for a task. Only a process of its own can be held to
that: nothing ends a decoder inside this one. Few tasks get a copy of this process where that is
sound (`_may_fork`); otherwise processes are made by Python's fork server, which starts once per
command and has the modules loaded.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, TypeVar

from isnet_cli.config.schema import Limits
from isnet_cli.core.run_context import WATCHER
from isnet_cli.guard.memory import read_memory, read_waiting
from isnet_cli.guard.worker import Budget, Lost, serve

Task = TypeVar("Task")
Result = TypeVar("Result")
FEW = 24  # fewer tasks are done sooner by one process than several start
POLL_SECONDS = 0.05  # between two looks at time, memory and the wish to stop
PAUSE_SECONDS = 5.0  # a longer gap between two looks was no work: the machine slept
SMALL = 16_384  # bytes of a task that may wait in a process's pipe
TRIES = 2  # of a task whose process died: it may have died of something else


def make_budget(limits: Limits) -> Budget:
    """The budget that a configuration gives to the reading of a file."""
    return Budget(limits.seconds, limits.memory_bytes)


def describe_loss(why: Lost, limits: Limits) -> tuple[str, str]:
    """Reason and sentence for a file whose task has no result.

    Args:
        why: What became of it.
        limits: Those that its budget was made from.
    """
    if why is Lost.SLOW:
        return "too_slow", f"reading took more than {limits.seconds:g} s (limits.seconds)"
    if why is Lost.LARGE:
        return (
            "too_large",
            f"reading takes more than {limits.memory_mb} MB of memory (limits.memory_mb)",
        )
    return "crashed", "the process that read it died (damaged file or too little memory)"


def worker_count(setting: int | None, tasks: int, least: int = 0) -> int:
    """How many processes to start; 0 means to work in this one.

    Args:
        setting: ``machine.workers``; None chooses min(4, cores), and `least` for a few tasks.
        tasks: Number of tasks.
        least: 1 where the tasks need a budget.
    """
    if setting is not None:
        return min(setting, tasks)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return least if tasks < FEW else min(4, cores or 1)


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    *,
    budget: Budget | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Result | Lost]]:
    """Runs tasks in worker processes; yields (index, result) as each is done, in any order.

    A process that dies (a decoder that crashes) is replaced, and its task tried once more. One that
    takes more than its budget is ended. Processes that cannot be started at all are replaced by
    work in this process, which has no budget.

    Args:
        function: Importable by name; must not raise, but for `MemoryError`.
        tasks: What it is called with; picklable.
        workers: Number of processes; 0 works in this process.
        budget: What a task may take; None: anything.
        stop: Once it is true, the processes are ended and nothing more is yielded.
    """
    waiting = deque(range(len(tasks)))
    if workers and tasks:
        pool = _Pool(function, tasks, waiting, workers, budget)
        try:
            yield from pool.work(stop)
        finally:
            pool.end()
    while waiting and not stop():
        index = waiting.popleft()
        try:
            result: Result | Lost = function(tasks[index])
        except MemoryError:
            result = Lost.LARGE
        yield index, result


@dataclass
class _Worker:
    """One process, and the tasks that it was given: the first is under way."""

    process: Any
    connection: Connection
    tasks: deque[int] = field(default_factory=deque)
    began: float = 0.0
    waited: float = 0.0  # for a processor, until `began`
    done: int = 0
    ready: bool = False

    def start_clock(self) -> None:
        """A task begins now."""
        self.began, self.waited = time.monotonic(), read_waiting(self.process.pid)

    def measure(self, now: float) -> float:
        """Seconds since the task began in which this process could work."""
        return now - self.began - max(0.0, read_waiting(self.process.pid) - self.waited)

    def end(self) -> None:
        """Ends the process at once."""
        self.connection.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


class _Pool(Generic[Task, Result]):
    """The processes at work on `waiting`."""

    def __init__(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        waiting: deque[int],
        count: int,
        budget: Budget | None,
    ) -> None:
        self.function, self.tasks, self.waiting = function, tasks, waiting
        self.count, self.budget = count, budget
        self.workers: list[_Worker] = []
        self.again: deque[int] = deque()  # tasks that get a fresh process for themselves
        self.tries: dict[int, int] = {}
        self.proven = self.barred = False  # that processes start here; that none does
        self.context = _make_context(function, len(tasks), budget)
        self.looked = time.monotonic()

    def work(self, stop: Callable[[], bool]) -> Iterator[tuple[int, Result | Lost]]:
        """(index, result) of each task; ends early when processes cannot be started."""
        while self.waiting or self.again or any(worker.tasks for worker in self.workers):
            self._start()
            if self.barred:
                return
            for worker in self.workers:
                self._hand_out(worker)
            ready = wait([worker.connection for worker in self.workers], POLL_SECONDS)
            if stop():
                return
            found: list[tuple[int, Result | Lost]] = []
            for worker in [w for w in self.workers if w.connection in ready]:
                found += self._receive(worker)
            found += self._watch()
            yield from found

    def end(self) -> None:
        """Ends all processes."""
        for worker in self.workers:
            worker.end()
        self.workers.clear()

    def _start(self) -> None:
        """As many processes as there is work for."""
        idle = sum(not worker.tasks for worker in self.workers)
        wanted = min(self.count - len(self.workers), len(self.waiting) + len(self.again) - idle)
        for _ in range(wanted if self.workers else max(1, wanted)):
            here, there = self.context.Pipe()
            process = self.context.Process(
                target=serve, args=(there, self.function, self.budget), daemon=True
            )
            try:
                process.start()
            except (OSError, EOFError):  # no more processes allowed, or no fork server
                here.close()
                self.barred = not self.workers
                return
            finally:
                there.close()
            self.workers.append(_Worker(process, here))

    def _hand_out(self, worker: _Worker) -> None:
        """The next task; one more in advance, so that the process need not wait for this one."""
        if self.again and not worker.tasks and not worker.done:
            self._send(worker, self.again.popleft())
        elif not worker.tasks and self.waiting:
            self._send(worker, self.waiting.popleft())
        elif not worker.tasks and self.again:  # needs a fresh one: this one is done
            self.workers.remove(worker)
            worker.end()
            return
        # a long task would fill the pipe, and this process wait for one that waits for it
        alone = self.tries.get(worker.tasks[0], 0) if worker.tasks else 1
        if worker.ready and len(worker.tasks) == 1 and not alone and self.waiting:
            index = self.waiting[0]
            if len(ForkingPickler.dumps((index, self.tasks[index]))) <= SMALL:
                self._send(worker, self.waiting.popleft())

    def _send(self, worker: _Worker, index: int) -> None:
        worker.tasks.append(index)
        if len(worker.tasks) == 1:
            worker.start_clock()
        with contextlib.suppress(OSError):  # a dead process: `_receive` finds out
            worker.connection.send((index, self.tasks[index]))

    def _receive(self, worker: _Worker) -> list[tuple[int, Result | Lost]]:
        try:
            answer = worker.connection.recv()
        except (EOFError, OSError):
            return self._lose(worker, Lost.CRASHED)
        worker.start_clock()
        if answer is None:
            worker.ready = self.proven = True
            return []
        index, result, fault = answer
        if fault is not None:
            raise fault
        if result is Lost.LARGE:
            return self._lose(worker, Lost.LARGE)
        worker.tasks.popleft()
        worker.done += 1
        return [(index, result)]

    def _watch(self) -> list[tuple[int, Result | Lost]]:
        """Ends processes that take more than their budget."""
        now = time.monotonic()
        if self.budget is None or now - self.looked < POLL_SECONDS / 2:
            return []
        if now - self.looked > PAUSE_SECONDS:
            for worker in self.workers:
                worker.began += now - self.looked
        self.looked = now
        found: list[tuple[int, Result | Lost]] = []
        for worker in [w for w in self.workers if w.tasks and w.ready]:
            late = now - worker.began > self.budget.seconds
            if late and worker.measure(now) > self.budget.seconds:
                found += self._lose(worker, Lost.SLOW)
            elif read_memory(worker.process.pid) > self.budget.memory:
                found += self._lose(worker, Lost.LARGE)
        return found

    def _lose(self, worker: _Worker, why: Lost) -> list[tuple[int, Result | Lost]]:
        """Replaces a process; what was under way is tried once more where that may help."""
        self.workers.remove(worker)
        worker.end()
        if not worker.ready and not self.proven:
            self.waiting.extendleft(reversed(worker.tasks))
            self.barred = True
            return []
        if not worker.tasks:
            return []
        index, *rest = worker.tasks
        self.waiting.extendleft(reversed(rest))
        self.tries[index] = tries = self.tries.get(index, 0) + 1
        worth = tries < TRIES and (why is Lost.CRASHED or (why is Lost.LARGE and worker.done > 0))
        if worth:
            self.again.append(index)
            return []
        return [(index, why)]


def _make_context(function: Callable[[Any], Any], tasks: int, budget: Budget | None) -> Any:
    """How processes are made: copies of this one, by a fork server, or new interpreters."""
    methods = multiprocessing.get_all_start_methods()
    if tasks < FEW and "fork" in methods and _may_fork(budget):
        return multiprocessing.get_context("fork")
    if "forkserver" not in methods:
        return multiprocessing.get_context("spawn")
    while isinstance(function, functools.partial):
        function = function.func
    module = function.__module__
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module] if module != "__main__" else [])
    return context


def _may_fork(budget: Budget | None) -> bool:
    """Whether a copy of this process is sound, and small enough for the budget.

    A copy has no thread but the one that made it, and whatever lock another one held stays locked.
    So there must be none that works: no thread of Python's but the one that waits for signals, and
    none of torch's. (Those of numpy's linear algebra are ended before and started again after.) It
    costs milliseconds, where a fork server costs as much as the start of a command.
    """
    if not sys.platform.startswith("linux") or "torch" in sys.modules:
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    others = {thread.name for thread in threading.enumerate()} - {threading.main_thread().name}
    return others <= {WATCHER} and (budget is None or read_memory() < budget.memory // 4)
