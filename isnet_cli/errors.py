"""The one error type that users see, and the exit code of each of its kinds."""

from __future__ import annotations

import csv
import json
import struct
import zlib
from typing import Any, Literal

Kind = Literal["usage", "config", "data", "weights", "machine"]

EXIT_CODES: dict[Kind, int] = {"usage": 2, "config": 3, "data": 4, "weights": 5, "machine": 6}
EXIT_BUG = 1
EXIT_SKIPPED = 7
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
LONGEST = 3000  # characters of a message


class IsnetError(Exception):
    """A failure that the user can mend, stated in one line that can be searched for, and a fix.

    Args:
        kind: Category, printed as ``error[kind]``; decides the exit code.
        message: ``where: what was found, what was expected``; no patient identity. The middle of
            a very long one is left out: what was found may be a text of any length.
        fix: What to type or change; empty when nothing can be said.
        details: Further lines (at most five examples of many, then a count).
    """

    def __init__(
        self, kind: Kind, message: str, *, fix: str = "", details: tuple[str, ...] = ()
    ) -> None:
        message = _shorten(message)
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.fix = fix
        self.details = tuple(_shorten(line) for line in details)

    def __reduce__(self) -> tuple[Any, ...]:
        """All parts, for another process."""
        return _rebuild, (self.kind, self.message, self.fix, self.details)

    @property
    def exit_code(self) -> int:
        """Exit code of the process for this kind of failure (3 to 6)."""
        return EXIT_CODES[self.kind]

    def render(self) -> str:
        """The whole message as lines of plain text."""
        lines = [f"error[{self.kind}]: {self.message}", *(f"  {line}" for line in self.details)]
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


def _shorten(text: str) -> str:
    """The text, or its beginning and its end."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"


def _rebuild(kind: Kind, message: str, fix: str, details: tuple[str, ...]) -> IsnetError:
    return IsnetError(kind, message, fix=fix, details=details)


class UnreadableImage(Exception):  # noqa: N818 - a row in the skipped list, not a failure of the run
    """One image cannot be used; the batch goes on and the reason becomes a row of the skipped list.

    Args:
        reason: Short snake_case code, one of a documented set (``docs/skipped.md``).
        detail: One sentence: what was found and what was expected; no patient identity.
    """

    def __init__(self, reason: str, detail: str) -> None:
        detail = _shorten(detail)
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[str, str]]:
        """Both parts, for another process."""
        return type(self), (self.reason, self.detail)


_CAUSES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (  # the first that fits counts
    ((MemoryError,), "it does not fit into memory"),
    ((RecursionError,), "it is nested too deeply"),
    ((EOFError, struct.error), "it ends too early"),
    ((zlib.error,), "its compressed data are damaged"),
    ((UnicodeError,), "its text is in another encoding than expected"),
    ((json.JSONDecodeError,), "it is no valid JSON"),
    ((csv.Error,), "a row is malformed"),
    ((ImportError,), "a library that it takes is missing or damaged"),
    ((ArithmeticError,), "a number in it is out of range"),
    ((LookupError, AttributeError), "something that belongs in it is missing"),
    ((OSError,), "its content is damaged"),  # of a decoder; those of the system say why
    ((NotImplementedError,), "it is of a variant that is not read"),
    ((TypeError, ValueError, SyntaxError), "a value in it is of another kind than expected"),
)


def explain_error(error: BaseException, own: tuple[type[BaseException], ...] = ()) -> str:
    """Why something failed, for people: never an exception's name, nor a library's text about it.

    Args:
        error: What was raised.
        own: Types (not their subclasses) whose text is written for people, by this program.
            `IsnetError` and `UnreadableImage` always are.

    Returns:
        A clause about "it", the thing that was read.
    """
    if isinstance(error, (IsnetError, UnreadableImage)) or type(error) in own:
        return next(iter(str(error).splitlines()), "") or "it cannot be used"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror).lower()
    found = (words for kinds, words in _CAUSES if isinstance(error, kinds))
    return next(found, "its content is unexpected")
