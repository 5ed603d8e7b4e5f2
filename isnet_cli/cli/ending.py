"""Ends a command some seconds after it was asked to stop, whatever it is doing by then."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from isnet_cli.core.run_context import WATCHER

GRACE_SECONDS = 10.0  # for a stop in good order
SECOND_SECONDS = 2.0  # once a second signal came
LAST_SECONDS = 1.0  # for the last words


@contextlib.contextmanager
def end_in_time(
    codes: Mapping[signal.Signals, int], last_words: Callable[[int], object]
) -> Iterator[None]:
    """Watches for signals while the block runs; ends the process when it does not end by itself.

    Python handles a signal between two of its own steps, which never comes while a foreign library
    works in one long call. The system's part of the handler still writes the signal's number into
    a pipe, and a thread waits there. Files appear by rename, so that nothing is torn; worker
    processes end with this one.

    Args:
        codes: Exit code of each signal that means: stop.
        last_words: Called with the exit code before the process ends; may hang.
    """
    if not hasattr(signal, "set_wakeup_fd") or os.name == "nt":
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    watcher = threading.Thread(
        target=_watch, args=(reader, codes, last_words), name=WATCHER, daemon=True
    )
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(
    reader: int, codes: Mapping[signal.Signals, int], last_words: Callable[[int], object]
) -> None:
    """Waits for signals, then for the end of the block, which closes the other end of the pipe."""
    code, until = 0, math.inf
    while True:
        left = None if until == math.inf else max(0.0, until - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            break
        numbers = os.read(reader, 64)
        if not numbers:
            return
        for number in (n for n in numbers if n in codes):
            patience = SECOND_SECONDS if code else GRACE_SECONDS
            code = code or codes[signal.Signals(number)]
            until = min(until, time.monotonic() + patience)
    words = threading.Thread(target=last_words, args=(code,), daemon=True)
    words.start()
    words.join(LAST_SECONDS)
    os._exit(code)
