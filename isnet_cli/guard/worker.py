"""A process that works on one file after the other, held to a budget of time and memory."""

from __future__ import annotations

import contextlib
import ctypes
import enum
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from isnet_cli.guard.memory import keep_freed_memory, limit_memory, read_memory, return_freed_memory

ALARM_SECONDS = 15.0  # beyond the budget, after which the system ends a process without a parent
_ON_LINUX = sys.platform.startswith("linux")
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
        seconds: Time, less what the process waited for a processor that others used.
        memory: Bytes of the process that does it, as the system counts them (resident).
    """

    seconds: float
    memory: int


def serve(connection: Connection, function: Callable[[Any], Any], budget: Budget | None) -> None:
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
    if not _ON_LINUX:
        _set_alarm(budget.seconds + ALARM_SECONDS)


def _set_alarm(seconds: float) -> None:
    """Lets the system end this process after a time; 0: no longer."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _settle() -> None:
    """What each process does first: leave interrupts to the parent, and end when it ends.

    It keeps freed memory: large images would go to the system and back.

    Ctrl-C reaches every process of the terminal, as a service's end reaches all of the service, and
    the parent alone decides what to do. A killed
    parent sends no signal: its processes would wait for work for ever. A thread that waits for its
    end cannot act while a decoder holds Python's lock; the system can.
    """
    gc.freeze()  # what a parent left behind is the parent's to clear up
    keep_freed_memory()
    _say_nothing()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if _ON_LINUX:  # the fork server ends with the parent, this one with it
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    _let_server_end()
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _let_server_end() -> None:
    """Closes what keeps the fork server alive: this process would, and so itself, after a parent.

    Python's fork server ends when all that hold the other end of a pipe have; it gives that end to
    each of its children, which then could start processes themselves. These do not.
    """
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
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
