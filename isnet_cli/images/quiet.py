"""Silence for libraries that quote headers, and for the C libraries below them."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator

_ONE = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings and logging of the whole process while a file's header is at hand.

    The imaging libraries quote header values in warnings and log records, and those may name the
    patient. What matters of them reaches the caller as an exception. Threads wait for each other:
    the first to leave would end the silence of the rest.
    """
    with _ONE:
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.disable(before)


@contextlib.contextmanager
def mute_stderr() -> Iterator[None]:
    """Discards what is written to the process's standard error, by C libraries above all.

    The JPEG codecs try their 8-bit part on every image and complain aloud, libtiff reports what
    its exceptions say anyway. Output of other threads is lost meanwhile; keep the block short.
    """
    try:
        kept = os.dup(2)
    except OSError:  # a process without stderr
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
