"""stdin, stdout and stderr as a process may find them: closed, full, without a reader, in ASCII."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from isnet_cli.errors import IsnetError

_GONE = {errno.EPIPE, errno.ECONNRESET}  # the reader went away, as `head` does


class _Closed(io.TextIOBase):
    """Stands for a stdout that was closed before the start: whatever is written is a failure."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "closed")


@contextlib.contextmanager
def sound_streams() -> Iterator[None]:
    """Makes the three streams safe to use for the length of one command.

    A closed descriptor is opened on nothing: the next file that is opened would get its number, and
    libraries that write to stderr would write into that file. File names may hold what the
    terminal's encoding cannot show; that must not end a run.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    before = sys.stdout, sys.stderr
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the process
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        yield
    finally:
        for used in (sys.stdout, sys.stderr):
            _settle(used)
        if isinstance(sys.stdout, _Closed):
            sys.stdout = before[0]


def write_error(text: str) -> None:
    """A line on stderr; a message that cannot be printed is lost, and nothing else with it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except RuntimeError:  # a signal came while a line was written, and its message must not wait
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        _settle(sys.stderr)


def write_result(text: str) -> None:
    """A text on stdout; nobody is told when its reader went away.

    Raises:
        IsnetError: Kind "machine", when it cannot be written for another reason.
    """
    try:
        print(text, flush=True)
    except (OSError, ValueError) as error:
        _settle(sys.stdout)
        if getattr(error, "errno", None) not in _GONE:
            raise explain_lost_output(error) from error


def explain_lost_output(error: Exception) -> IsnetError:
    """The error of a result that could not be printed."""
    number = getattr(error, "errno", None)
    why = "closed" if number in {errno.EBADF, None} else (os.strerror(number) or "error").lower()
    return IsnetError(
        "machine",
        f"stdout: the result cannot be printed ({why}); what was written to files is whole",
        fix="give the command a stdout with room, such as a pipe or a file",
    )


def is_reader_gone(error: BaseException) -> bool:
    """Whether stdout has no reader any more."""
    return isinstance(error, OSError) and error.errno in _GONE


def _settle(stream: TextIO | _Closed) -> None:
    """Writes out what waits; what cannot be written is dropped, or Python's end would complain."""
    try:
        stream.flush()
    except (OSError, ValueError, AttributeError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            number, nothing = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, number)
            os.close(nothing)
            stream.flush()
