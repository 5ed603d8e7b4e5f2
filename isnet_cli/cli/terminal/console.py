"""What the command line prints: the result on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from isnet_cli.cli.terminal.progress import PlainProgress
from isnet_cli.cli.terminal.streams import write_error, write_result
from isnet_cli.core.run_context import Progress, SilentProgress
from isnet_cli.errors import IsnetError
from isnet_cli.text.forms import for_line, for_terminal, format_json
from isnet_cli.text.hidden_names import HiddenNames

if TYPE_CHECKING:
    from isnet_cli.cli.terminal.live import LiveProgress

_RED, _YELLOW, _PLAIN = "\x1b[1;31m", "\x1b[33m", "\x1b[0m"
HOW_TO_SHOW = "isnet check CONFIG --set data.privacy.rename=false   shows the hidden names"


class Console:
    """Messages and progress of one command; nothing of an input acts on the terminal.

    Args:
        quiet: Print warnings, errors and the result only.
        verbose: 0, 1 (events) or 2 (tracebacks).
        progress: Show progress at all.

    Attributes:
        names: Names of the input that nothing printed may show.
        warnings: All that were given, as printed.
        mute: Whether nothing but failures is printed.
    """

    def __init__(self, *, quiet: bool = False, verbose: int = 0, progress: bool = True) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.names = HiddenNames()
        self.warnings: list[str] = []
        self.mute = False
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

    def say(self, *lines: str) -> None:
        """Information, one line each."""
        if not self.quiet:
            for line in lines:
                self._write(line)

    def fall_silent(self) -> None:
        """Prints nothing more but failures: another process of this command speaks."""
        self.mute = self.quiet = True
        self.verbose = 0
        self.progress = SilentProgress()

    def warn(self, category: str, text: str) -> str:
        """Prints one warning, keeps it in `warnings`, and returns its text as printed."""
        text = for_line(self.names.hide(text))
        line = f"warning[{category}]: {text}"
        self.warnings.append(line)
        if not self.mute:
            self._write(line, _YELLOW)
        return text

    def fail(self, error: IsnetError) -> None:
        """The message of a failure that the user can mend."""
        self._write(f"error[{error.kind}]: {error.message}", _RED)
        hidden = any(self.names.hide(text) != text for text in (error.message, *error.details))
        for line in error.details:
            self._write(f"  {line}")
        for line in (error.fix, HOW_TO_SHOW if hidden else ""):
            if line:
                self._write(f"  fix: {line}")

    def detail(self, text: str) -> None:
        """A line that only ``-v`` shows."""
        if self.verbose:
            self._write(text)

    def trace(self, text: str) -> None:
        """Lines that only ``-vv`` shows."""
        if self.verbose > 1:
            for line in text.splitlines():
                self._write(line)

    def result(self, text: str) -> None:
        """The command's result, on stdout.

        Raises:
            IsnetError: Kind "machine", when stdout cannot be written.
        """
        if not self.mute:
            write_result(for_terminal(self.names.hide(text)))

    def document(self, content: dict[str, Any]) -> None:
        """The command's result as one JSON document, on stdout.

        Raises:
            IsnetError: Kind "machine", when stdout cannot be written.
        """
        if not self.mute:
            write_result(format_json(self.names.hide_all(content), only_ascii=True, default=str))

    def _write(self, text: str, colour: str = "") -> None:
        text = for_line(self.names.hide(text))
        if self._live is not None:
            with contextlib.suppress(OSError, ValueError):
                if self._live.print(text):
                    return
        head, colon, rest = text.partition(":")
        if colour and self._colour:
            text = f"{colour}{head}{_PLAIN}{colon}{rest}"
        write_error(text)


def is_terminal() -> bool:
    """Whether stderr is a screen on which lines can be redrawn."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # closed
        return False
