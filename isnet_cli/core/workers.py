"""Work on many files in several processes; one that dies takes down one file, not the batch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from isnet_cli.core.memory import keep_freed_memory

Task = TypeVar("Task")
Result = TypeVar("Result")
QUEUED = 4  # tasks per worker that are queued ahead
FEW = 24  # fewer tasks are done sooner than processes start


def worker_count(setting: int | None, tasks: int) -> int:
    """How many processes to start; 0 means to work in this one.

    Args:
        setting: ``machine.workers``; None chooses min(4, cores), and 0 for a few tasks.
        tasks: Number of tasks.
    """
    if setting is not None:
        return min(setting, tasks)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if tasks < FEW else min(4, cores or 1)


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[tuple[int, Result | None]]:
    """Runs tasks in worker processes; yields (index, result) as each is done, in any order.

    When a process dies (a decoder that crashes, memory that runs out), the tasks that were under
    way are done again one by one; a task that kills its process then has the result None. Processes
    that cannot be started at all are replaced by work in this process.

    Args:
        function: Importable by name; must not raise.
        tasks: What it is called with; picklable.
        workers: Number of processes; 0 works in this process.
    """
    waiting = list(range(len(tasks)))[::-1]
    proven = False  # that processes start here
    while waiting and workers:
        suspects: list[int] = []
        for done in _pooled(function, tasks, waiting, workers, suspects):
            proven = True
            yield done
        if suspects and not proven and not _can_start():
            waiting += sorted(suspects, reverse=True)
            break
        for index in sorted(suspects):
            yield index, _alone(function, tasks[index])
    for index in reversed(waiting):
        yield index, function(tasks[index])


def _pooled(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    waiting: list[int],
    workers: int,
    suspects: list[int],
) -> Iterator[tuple[int, Result]]:
    """Works off `waiting` from its end until it is empty or a process dies.

    What was under way when a process died goes to `suspects`.
    """
    running: dict[Future[Result], int] = {}
    pool = _pool(workers)
    try:
        while waiting or running:
            while waiting and len(running) < workers * QUEUED and not suspects:
                index = waiting.pop()
                try:
                    running[pool.submit(function, tasks[index])] = index
                except BrokenProcessPool:
                    suspects.append(index)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    suspects.append(index)
                    continue
                yield index, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone(function: Callable[[Task], Result], task: Task) -> Result | None:
    with _pool(1) as pool:
        try:
            return pool.submit(function, task).result()
        except BrokenProcessPool:
            return None


def _pool(workers: int) -> ProcessPoolExecutor:
    # spawn: the same on all systems, and safe beside the threads of a progress display
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_settle)


def _can_start() -> bool:
    """Whether a process starts at all; it does not from a script without a main guard."""
    with _pool(1) as pool:
        try:
            return pool.submit(_ready).result()
        except BrokenProcessPool:
            return False


def _ready() -> bool:
    return True


def _settle() -> None:
    """What each process does first: leave interrupts to the parent, and end when it ends.

    It keeps freed memory: large images would go to the system and back.

    Ctrl-C reaches every process of the terminal, and the parent alone decides what to do. A killed
    parent sends no signal: its processes would wait for work for ever.
    """
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
