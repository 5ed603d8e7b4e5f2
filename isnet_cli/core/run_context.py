"""What a stage may do to the outside world besides its own folder: report, warn, ask to stop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from isnet_cli.core.parallel.processes import ALONE, Processes
from isnet_cli.core.parallel.shares import WHOLE, Share

PARENT = "ISNET_PARENT"  # environment: id of the process without which this one stops
WATCHER = "end in time"  # name of the thread that waits for signals, and holds nothing meanwhile


class Progress(Protocol):
    """A display of long work on stderr; a stage never prints by itself.

    Displays inherit from it and need no more than `bar`.
    """

    def track(self, items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        """Yields `items` and shows how many of `total` are done, the rate and the time left."""
        with self.bar(description, total) as bar:
            for item in items:
                yield item
                bar.advance()

    def bar(self, description: str, total: int) -> contextlib.AbstractContextManager[Bar]:
        """Opens a bar that the caller advances by hand and decorates with figures."""
        ...


class Bar(Protocol):
    """One open progress bar."""

    def advance(self, steps: int = 1, **figures: float | str) -> None:
        """Moves on by `steps` and shows the named `figures` (losses, scores, rates) beside."""
        ...


class _SilentBar:
    def advance(self, steps: int = 1, **figures: float | str) -> None:
        pass


class SilentProgress(Progress):
    """The display of tests and `--quiet`: none."""

    @contextlib.contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar]:
        """A bar that shows nothing."""
        yield _SilentBar()


@dataclass
class RunContext:
    """Side effects handed to a stage; the defaults do nothing.

    Attributes:
        progress: Display of long work.
        say: Prints one line of information on stderr.
        warn: Prints one warning ``category, text`` on stderr and keeps it for the run's record.
        event: Appends one event (name and JSON-able fields, no identity) to the run's log.
        stop_requested: True once the user or the queue asked for an orderly stop.
        processes: Those that do the same work together; only process 0 writes.
        share: The part of a stage that is to be done; a stage that does less is incomplete.
    """

    progress: Progress = field(default_factory=SilentProgress)
    say: Callable[[str], None] = lambda text: None
    warn: Callable[[str, str], None] = lambda category, text: None
    event: Callable[..., None] = lambda name, **fields: None
    stop_requested: Callable[[], bool] = lambda: False
    processes: Processes = ALONE
    share: Share = WHOLE
