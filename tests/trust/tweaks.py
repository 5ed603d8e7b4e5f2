"""Changes of the program in a forked child, so that a trial is short and can be repeated."""

from __future__ import annotations

import functools


def same_salt() -> None:
    """The key of pseudonyms is always the same: two runs can be compared."""
    import secrets

    secrets.token_hex = lambda size=32: "5a" * (size or 32)  # type: ignore[assignment]


def small_demo() -> None:
    """A demonstration of a few images and epochs."""
    from isnet_cli.demo import run

    scale = run.Scale(
        patients_a=10, patients_b=3, side=96,
        overrides=(
            "train.epochs=2", "model.input=32", "machine.device=cpu", "machine.workers=0",
            "evaluate.intervals.draws=1000", "evaluate.intervals.bootstrap=200", "heatmap.limit=1",
        ),
    )  # fmt: skip
    original = run.run_demo
    run.run_demo = functools.wraps(original)(functools.partial(original, scale=scale))  # type: ignore[assignment]


def clock_set_back() -> None:
    """The clock is ten years behind."""
    _shift(-10 * 365 * 86400)


def clock_set_ahead() -> None:
    """The clock is ten years ahead."""
    _shift(10 * 365 * 86400)


def _shift(seconds: float) -> None:
    """Moves the time of day in every module of the program; durations stay."""
    import datetime
    import sys
    import time

    true_time, true_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_ns() + int(seconds * 1e9)

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Shifted:
            return cls.fromtimestamp(true_time() + seconds, tz)

    for name, module in list(sys.modules.items()):
        if name.startswith("isnet_") and getattr(module, "datetime", None) is datetime.datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]
