"""Long work on a terminal: moving bars, figures below them, messages above them.

Imports Rich, so it is imported only when there is a terminal to draw on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from isnet_cli.cli.terminal.progress import BRIEF_SECONDS, Meter, format_duration
from isnet_cli.core import run_context
from isnet_cli.text.forms import for_line


class LiveProgress(run_context.Progress):
    """Bars that move; the first starts the display and the last ends it.

    Args:
        colour: Whether colours may be used.
        console: Where to draw; default: the terminal of stderr.
    """

    def __init__(self, *, colour: bool, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, no_color=not colour)
        self._bars: _Bars | None = None
        self._open = 0

    def print(self, text: str) -> bool:
        """Prints `text` above the bars; False when no bar is open and nothing was printed."""
        if self._bars is None:
            return False
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
        return True

    @contextlib.contextmanager
    def bar(self, description: str, total: int) -> Iterator[run_context.Bar]:
        """Opens a bar; several may be open at once."""
        if self._bars is None:
            self._bars = _Bars(self._console)
            self._bars.start()
        bars = self._bars
        self._open += 1
        meter = Meter(total)
        task = bars.add_task(for_line(description), total=total, pace="", left="", facts="")
        try:
            yield _LiveBar(bars, task, meter)
        finally:
            bars.update(task, left=f"took {format_duration(meter.elapsed)}")
            if meter.elapsed < BRIEF_SECONDS:
                bars.remove_task(task)
            self._open -= 1
            if self._open == 0:
                bars.stop()
                self._bars = None


class _Bars(Progress):
    """One line per bar, and a second one where there are figures."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[pace]}"),
            TextColumn("{task.fields[left]}"),
            console=console,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """The table of bars, then the figures of each."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["facts"]:
                yield Text(f"  {task.fields['facts']}", style="dim")


class _LiveBar:
    def __init__(self, bars: _Bars, task: TaskID, meter: Meter) -> None:
        self._bars = bars
        self._task = task
        self._meter = meter

    def advance(self, steps: int = 1, **figures: float | str) -> None:
        meter = self._meter
        meter.advance(steps, figures)
        left = meter.left()
        self._bars.update(
            self._task,
            completed=meter.done,
            pace=meter.pace(),
            facts=for_line(meter.facts()),
            left="" if left is None else f"{format_duration(left)} left",
        )
