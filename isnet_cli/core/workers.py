"""Work on many files in several processes; one that dies or hangs costs one file, not the batch.

Each process has a budget of time and memory for a task. Only a process of its own can be held to
that: nothing ends a decoder inside this one. Processes are made by Python's fork server, which
starts once per command and has the modules loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import multiprocessing
import os
import signal
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
from isnet_cli.guard.memory import keep_freed_memory, limit_memory, read_memory, return_freed_memory

Task = TypeVar("Task")
Result = TypeVar("Result")
FEW = 24  # fewer tasks are done sooner by one process than several start
POLL_SECONDS = 0.05  # between two looks at time, memory and the wish to stop
PAUSE_SECONDS = 5.0  # a longer gap between two looks was no work: the machine slept
SMALL = 16_384  # bytes of a task that may wait in a process's pipe
TRIES = 2  # of a task whose process died: it may have died of something else
ALARM_SECONDS = 15.0  # beyond the budget, after which the system ends a process without a parent
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl(2)


class Lost(enum.Enum):
    """Why a task has no result."""

    CRASHED = "crashed"
    SLOW = "too_slow"
    LARGE = "too_large"


@dataclass(frozen=True)
class Budget:
    """What one task may take.

    Attributes:
        seconds: Time.
        memory: Bytes of the process that does it, as the system counts them (resident).
    """

    seconds: float
    memory: int


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
    done: int = 0
    ready: bool = False

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
        self.context = _make_context(function.__module__)
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
                target=_serve, args=(there, self.function, self.budget), daemon=True
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
            worker.began = time.monotonic()
        with contextlib.suppress(OSError):  # a dead process: `_receive` finds out
            worker.connection.send((index, self.tasks[index]))

    def _receive(self, worker: _Worker) -> list[tuple[int, Result | Lost]]:
        try:
            answer = worker.connection.recv()
        except (EOFError, OSError):
            return self._lose(worker, Lost.CRASHED)
        worker.began = time.monotonic()
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
            if now - worker.began > self.budget.seconds:
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


def _make_context(module: str) -> Any:
    """The fork server with `module` loaded; new interpreters where there is no such thing.

    Forking this process would be unsafe beside its threads.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module] if module != "__main__" else [])
    return context


def _serve(connection: Connection, function: Callable[[Any], Any], budget: Budget | None) -> None:
    """What a process does: one task after the other, until its parent closes the connection."""
    _settle()
    connection.send(None)
    while True:
        try:
            index, task = connection.recv()
        except (EOFError, OSError):
            return
        result, fault = None, None
        try:
            if budget is not None:
                _hold_to(budget)
            result = function(task)
        except MemoryError:
            result = Lost.LARGE
        except Exception as error:  # the parent raises it
            fault = _make_portable(error)
        _set_alarm(0.0)
        connection.send((index, result, fault))
        if result is Lost.LARGE:
            return


def _make_portable(error: Exception) -> Exception:
    """The error, or its kind where it cannot go to another process."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__} in a worker process")
    return error


def _hold_to(budget: Budget) -> None:
    """Lets allocations beyond the budget fail, and the system end what hangs without a parent."""
    if read_memory() > budget.memory // 2:
        return_freed_memory()
    limit_memory(max(0, budget.memory - read_memory()))
    _set_alarm(budget.seconds + ALARM_SECONDS)


def _set_alarm(seconds: float) -> None:
    """Lets the system end this process after a time; 0: no longer."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _settle() -> None:
    """What each process does first: leave interrupts to the parent, and end when it ends.

    It keeps freed memory: large images would go to the system and back.

    Ctrl-C reaches every process of the terminal, and the parent alone decides what to do. A killed
    parent sends no signal: its processes would wait for work for ever. A thread that waits for its
    end cannot act while a decoder holds Python's lock; the system can.
    """
    keep_freed_memory()
    _say_nothing()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if sys.platform.startswith("linux"):  # the fork server ends with the parent, this one with it
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    _let_server_end()
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _let_server_end() -> None:
    """Closes what keeps the fork server alive: this process would, and so itself, after a parent.

    Python's fork server ends when all that hold the other end of a pipe have; it gives that end to
    each of its children, which then could start processes themselves. These do not.
    """
    from multiprocessing import forkserver

    server = getattr(forkserver, "_forkserver", None)
    handle = getattr(server, "_forkserver_alive_fd", None)
    if server is not None and isinstance(handle, int):
        with contextlib.suppress(OSError):
            os.close(handle)
        server._forkserver_alive_fd = None


def _say_nothing() -> None:
    """What libraries print may quote the input; what matters goes to the parent as a result."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
