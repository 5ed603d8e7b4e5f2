"""The one error type that users see, and the exit code of each of its kinds."""

from __future__ import annotations

from typing import Any, Literal

Kind = Literal["usage", "config", "data", "weights", "machine"]

EXIT_CODES: dict[Kind, int] = {"usage": 2, "config": 3, "data": 4, "weights": 5, "machine": 6}
EXIT_BUG = 1
EXIT_SKIPPED = 7
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class IsnetError(Exception):
    """A failure that the user can mend, stated in one line that can be searched for, and a fix.

    Args:
        kind: Category, printed as ``error[kind]``; decides the exit code.
        message: ``where: what was found, what was expected``; no patient identity.
        fix: What to type or change; empty when nothing can be said.
        details: Further lines (at most five examples of many, then a count).
    """

    def __init__(
        self, kind: Kind, message: str, *, fix: str = "", details: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.fix = fix
        self.details = details

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


def _rebuild(kind: Kind, message: str, fix: str, details: tuple[str, ...]) -> IsnetError:
    return IsnetError(kind, message, fix=fix, details=details)


class UnreadableImage(Exception):  # noqa: N818 - a row in the skipped list, not a failure of the run
    """One image cannot be used; the batch goes on and the reason becomes a row of the skipped list.

    Args:
        reason: Short snake_case code, one of a documented set (``docs/skipped.md``).
        detail: One sentence: what was found and what was expected; no patient identity.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[str, str]]:
        """Both parts, for another process."""
        return type(self), (self.reason, self.detail)
