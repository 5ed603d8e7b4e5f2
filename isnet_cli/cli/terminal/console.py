"""What the command line prints: the result on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from isnet_cli.cli.terminal.progress import PlainProgress
from isnet_cli.core.run_context import Progress, SilentProgress
from isnet_cli.errors import IsnetError

if TYPE_CHECKING:
    from isnet_cli.cli.terminal.live import LiveProgress

_RED, _YELLOW, _PLAIN = "\x1b[1;31m", "\x1b[33m", "\x1b[0m"


class Console:
    """Messages and progress of one command.

    Args:
        quiet: Print warnings, errors and the result only.
        verbose: 0, 1 (events) or 2 (tracebacks).
        progress: Show progress at all.
    """

    def __init__(self, *, quiet: bool = False, verbose: int = 0, progress: bool = True) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.warnings: list[str] = []
        terminal = is_terminal()
        self._colour = terminal and not os.environ.get("NO_COLOR")
        self._live: LiveProgress | None = None
        self.progress: Progress
        if quiet or not progress:
            self.progress = SilentProgress()
        elif terminal:
            from isnet_cli.cli.terminal.live import LiveProgress

            self.progress = self._live = LiveProgress(colour=self._colour)
        else:
            self.progress = PlainProgress(self._write)

    def say(self, text: str) -> None:
        """One line of information."""
        if not self.quiet:
            self._write(text)

    def warn(self, category: str, text: str) -> None:
        """One warning, also kept in `warnings`."""
        line = f"warning[{category}]: {text}"
        self.warnings.append(line)
        self._write(line, _YELLOW)

    def fail(self, error: IsnetError) -> None:
        """The message of a failure that the user can mend."""
        self._write(error.render(), _RED)

    def detail(self, text: str) -> None:
        """A line that only ``-v`` shows."""
        if self.verbose:
            self._write(text)

    def result(self, text: str) -> None:
        """The command's result, on stdout."""
        print(text, flush=True)

    def document(self, content: dict[str, Any]) -> None:
        """The command's result as one JSON document, on stdout."""
        print(json.dumps(content, indent=2, default=str), flush=True)

    def _write(self, text: str, colour: str = "") -> None:
        if self._live is not None and self._live.print(text):
            return
        head, colon, rest = text.partition(":")
        if colour and self._colour:
            text = f"{colour}{head}{_PLAIN}{colon}{rest}"
        print(text, file=sys.stderr, flush=True)


def is_terminal() -> bool:
    """Whether stderr is a screen on which lines can be redrawn."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
