"""Silence for libraries that quote headers, and for the C libraries below them."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator, Sequence

_ONE = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Silences warnings and logging of the whole process while a file's header is at hand.

    The imaging libraries quote header values in warnings and log records, and those may name the
    patient. The list that is given gets the warnings; `describe_warnings` says what they mean
    without quoting them. Threads wait for each other: the first to leave would end the silence of
    the rest.
    """
    with _ONE:
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                yield heard
        finally:
            logging.disable(before)


def describe_warnings(heard: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """What warnings of the imaging libraries mean, as notes; nothing of their text is quoted."""
    found: dict[str, None] = {}
    for warning in heard:
        if issubclass(warning.category, (DeprecationWarning, PendingDeprecationWarning)):
            continue  # about programs, not about the file
        text = str(warning.message)
        words = next((words for pattern, words in _MEANINGS if pattern.search(text)), _OTHERWISE)
        found[words] = None
    return tuple(found)


_OTHERWISE = "the library that reads the file warns of it"
_MEANINGS = (
    (re.compile(r"[Ii]nvalid value for VR|value length|maximum length|not allowed in", re.ASCII),
     "values of the header break the standard"),
    (re.compile(r"[Tt]runcat|[Ee]nd of file|[Uu]nexpected end|[Cc]orrupt|EOF|premature", re.ASCII),
     "damaged: the library that reads the file misses data"),
)  # fmt: skip


@contextlib.contextmanager
def mute_stderr() -> Iterator[list[bool]]:
    """Keeps from the process's standard error what is written to it, by C libraries above all.

    libtiff reports damage there that its exceptions do not mention. The list that is given says at
    the end, by one entry, whether anything was written. Output of other threads is lost meanwhile;
    keep the block short.
    """
    wrote: list[bool] = []
    try:
        kept = os.dup(2)
    except OSError:  # a process without stderr
        yield wrote
        return
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)  # what does not fit is lost, and nobody waits
        os.dup2(writing, 2)
        yield wrote
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(writing)
        os.set_blocking(reading, False)
        with contextlib.suppress(BlockingIOError):  # a child process still holds the other end
            if os.read(reading, 1):
                wrote.append(True)
        os.close(reading)
