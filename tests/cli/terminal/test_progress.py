"""Counting, rates and lines of long work, on a clock of our own."""

from __future__ import annotations

import pytest

from isnet_cli.cli.terminal.progress import Meter, PlainProgress, format_duration, format_rate


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_rate_and_time_left(clock: Clock) -> None:
    meter = Meter(100, clock)
    assert (meter.rate, meter.left(), meter.pace()) == (0.0, None, "")
    clock.now = 10.0
    meter.advance(20, {"loss": 0.123456})
    assert meter.rate == 2.0
    assert meter.left() == 40.0
    assert meter.pace() == "2.0/s"
    assert meter.facts() == "loss 0.1235"


def test_work_of_an_earlier_run_does_not_count_for_the_rate(clock: Clock) -> None:
    meter = Meter(100, clock)
    clock.now = 0.1
    meter.advance(60, {})
    clock.now = 10.0
    meter.advance(20, {})
    assert meter.done == 80
    assert meter.rate == 2.0
    assert meter.left() == 10.0


def test_figures_are_kept_until_they_change(clock: Clock) -> None:
    meter = Meter(3, clock)
    meter.advance(1, {"val_auc": 0.5, "epoch": "1/3"})
    meter.advance(1, {"epoch": "2/3"})
    assert meter.facts() == "val auc 0.5 · epoch 2/3"


def test_one_line_per_ten_seconds_and_one_at_the_end(clock: Clock) -> None:
    lines: list[str] = []
    progress = PlainProgress(lines.append, clock)
    with progress.bar("images", 30) as bar:
        for _ in range(30):
            clock.now += 1.0
            bar.advance(loss=0.5)
    assert lines == [
        "images: 10/30 (33 %), 1.0/s, loss 0.5, 20 s left",
        "images: 20/30 (67 %), 1.0/s, loss 0.5, 10 s left",
        "images: 30/30 (100 %), 1.0/s, loss 0.5, 0.0 s left",
        "images: 30/30 (100 %), 1.0/s, loss 0.5, took 30 s",
    ]


def test_a_single_step_of_an_earlier_run_does_not_count_either(clock: Clock) -> None:
    meter = Meter(10, clock)
    meter.advance(1, {})
    clock.now = 60.0
    assert meter.left() is None
    meter.advance(1, {})
    assert meter.left() == 480.0


def test_long_work_has_fewer_lines(clock: Clock) -> None:
    lines: list[tuple[float, str]] = []
    progress = PlainProgress(lambda text: lines.append((clock.now, text)), clock)
    with progress.bar("benchmark", 36000) as bar:
        for _ in range(36000):
            clock.now += 1.0
            bar.advance()
    times = [now for now, _ in lines]
    assert times[:3] == [10.0, 20.0, 30.0]
    assert 400 < len(lines) < 500
    assert 330 < times[-2] - times[-3] < 370


def test_brief_work_leaves_no_line(clock: Clock) -> None:
    lines: list[str] = []
    assert list(PlainProgress(lines.append, clock).track(range(5), "x", 5)) == [0, 1, 2, 3, 4]
    assert lines == []


def test_a_failure_claims_no_end(clock: Clock) -> None:
    lines: list[str] = []
    progress = PlainProgress(lines.append, clock)

    def fail() -> None:
        with progress.bar("images", 30) as bar:
            clock.now += 20
            bar.advance()
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - any
        fail()
    assert len(lines) == 1
    assert "took" not in lines[0]


def test_nothing_to_do_divides_nothing(clock: Clock) -> None:
    lines: list[str] = []
    with PlainProgress(lines.append, clock).bar("images", 0):
        clock.now = 5
    assert lines == ["images: 0/0, took 5.0 s"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10.0 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (7199, "2 h 00 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(123.4, "123/s"), (1.44, "1.4/s"), (0.5, "2.0 s each"), (0.01, "1 min 40 s each")],
)
def test_rates(rate: float, text: str) -> None:
    assert format_rate(rate) == text
