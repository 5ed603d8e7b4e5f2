"""Long work without a terminal: a line now and then; and what any display counts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from isnet_cli.core.run_context import Bar, Progress

PLAIN_SECONDS = 10.0  # between two lines without a terminal, at least
PLAIN_SHARE = 0.01  # of the time so far: 36 s after an hour, 6 minutes after ten
BRIEF_SECONDS = 1.0  # work that is over sooner leaves no trace
LEAP_SECONDS = 0.5  # steps booked at once right at the start were done by an earlier run


class Meter:
    """Counts steps; computes their rate and the time left.

    Args:
        total: Steps of the whole work.
        clock: Seconds, rising.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.done = 0
        self.figures: dict[str, float | str] = {}
        self._clock = clock
        self._start = clock()
        self._first = 0

    def advance(self, steps: int, figures: dict[str, float | str]) -> None:
        """Counts `steps` more and replaces the named figures."""
        early = self._clock() - self._start < LEAP_SECONDS
        if self.done == 0 and early:
            self._first = steps
        self.done += steps
        self.figures.update(figures)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def rate(self) -> float:
        """Steps per second of this process; 0 before the first step."""
        worked = self.done - self._first
        return worked / self.elapsed if worked > 0 and self.elapsed > 0 else 0.0

    def left(self) -> float | None:
        """Seconds until the end at the present rate, or None before it is known."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None

    def pace(self) -> str:
        """The rate as text; empty before it is known."""
        return format_rate(self.rate) if self.rate > 0 else ""

    def facts(self) -> str:
        """The figures as one short text."""
        parts = [f"{name.replace('_', ' ')} {_figure(v)}" for name, v in self.figures.items()]
        return " · ".join(parts)


class PlainProgress(Progress):
    """One line per ten seconds and bar, fewer of long work, and one at its end.

    Args:
        write: Prints one line.
        clock: Seconds, rising.
    """

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock

    @contextlib.contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar]:
        """Opens a bar; a failure or a stop inside it leaves no line that claims the end."""
        bar = _PlainBar(description, Meter(total, self._clock), self._write, self._clock)
        yield bar
        bar.close()


class _PlainBar:
    def __init__(
        self,
        description: str,
        meter: Meter,
        write: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._description = description
        self._meter = meter
        self._write = write
        self._clock = clock
        self._last = clock()

    def advance(self, steps: int = 1, **figures: float | str) -> None:
        self._meter.advance(steps, figures)
        pause = max(PLAIN_SECONDS, PLAIN_SHARE * self._meter.elapsed)
        if self._clock() - self._last >= pause:
            self._last = self._clock()
            left = self._meter.left()
            self._line(f", {format_duration(left)} left" if left is not None else "")

    def close(self) -> None:
        if self._meter.elapsed >= BRIEF_SECONDS:
            self._line(f", took {format_duration(self._meter.elapsed)}")

    def _line(self, ending: str) -> None:
        meter = self._meter
        share = f" ({100 * meter.done / meter.total:.0f} %)" if meter.total else ""
        facts = "".join(f", {text}" for text in (meter.pace(), meter.facts()) if text)
        self._write(f"{self._description}: {meter.done}/{meter.total}{share}{facts}{ending}")


def format_rate(rate: float) -> str:
    """Steps per second as text: ``12/s``, ``1.4/s``, ``3.2 s each``."""
    if rate >= 10:
        return f"{rate:.0f}/s"
    return f"{rate:.1f}/s" if rate >= 1 else f"{format_duration(1 / rate)} each"


def format_duration(seconds: float) -> str:
    """Seconds as text: ``3.2 s``, ``47 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
