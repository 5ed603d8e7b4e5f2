"""Starts a task of a benchmark as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from isnet_cli.benchmark.logs import log_of
from isnet_cli.config.load import dump
from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_text
from isnet_cli.core.run_context import PARENT


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
