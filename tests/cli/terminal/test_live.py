"""Bars on a terminal, drawn into a string."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from isnet_cli.cli.terminal import live
from isnet_cli.cli.terminal.live import LiveProgress


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setattr(live, "BRIEF_SECONDS", 0.0)
    return io.StringIO()


def progress_on(screen: io.StringIO, width: int = 80) -> LiveProgress:
    console = Console(file=screen, force_terminal=True, width=width, no_color=True)
    return LiveProgress(colour=False, console=console)


def plain(screen: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def test_a_bar_shows_count_pace_time_and_figures(screen: io.StringIO) -> None:
    with progress_on(screen).bar("training", 4) as bar:
        bar.advance(2, loss=0.5, val_auc=0.75)
        bar.advance(2, loss=0.25)
    last = plain(screen).splitlines()[-2:]
    assert re.search(r"training .*4/4 .*/s +took 0\.\d s", last[0])
    assert last[1].strip() == "loss 0.25 · val auc 0.75"


def test_messages_stand_above_the_bar_and_markup_is_text(screen: io.StringIO) -> None:
    progress = progress_on(screen)
    assert progress.print("before") is False
    with progress.bar("images", 2) as bar:
        assert progress.print("a [bold]message[/bold] " + "x" * 100) is True
        bar.advance()
    assert progress.print("after") is False
    assert "a [bold]message[/bold] " + "x" * 100 in plain(screen)


def test_bars_in_bars_and_afterwards_another(screen: io.StringIO) -> None:
    progress = progress_on(screen)
    with progress.bar("outer", 2) as outer:
        assert list(progress.track(range(3), "inner", 3)) == [0, 1, 2]
        outer.advance(2)
    with progress.bar("second", 1) as bar:
        bar.advance()
    text = plain(screen)
    for words in ("outer", "inner", "second", "3/3", "2/2"):
        assert words in text


def test_a_failure_ends_the_display(screen: io.StringIO) -> None:
    progress = progress_on(screen)

    def fail() -> None:
        with progress.bar("images", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert progress.print("x") is False
    assert screen.getvalue().count("\x1b[?25h") == 1  # the cursor is back


def test_brief_work_leaves_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    with progress_on(screen).bar("images", 1) as bar:
        bar.advance()
    assert "took" not in plain(screen)


def test_a_narrow_terminal(screen: io.StringIO) -> None:
    with progress_on(screen, width=30).bar("a rather long description", 1000) as bar:
        bar.advance(10, loss=0.5)
    assert max(len(line) for line in plain(screen).splitlines()) <= 60
