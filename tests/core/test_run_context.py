"""Side effects that do nothing unless they are given."""

from __future__ import annotations

import pytest

from isnet_cli.core.run_context import RunContext, SilentProgress


def test_the_defaults_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    context = RunContext()
    context.say("x")
    context.warn("data", "x")
    context.event("x", a=1)
    assert context.stop_requested() is False
    assert list(context.progress.track(iter("ab"), "x", 2)) == ["a", "b"]
    with context.progress.bar("x", 2) as bar:
        bar.advance(2, loss=0.5)
    assert capfd.readouterr() == ("", "")


def test_ports_do_not_share_their_display() -> None:
    first, second = RunContext(), RunContext()
    first.progress = SilentProgress()
    assert first.progress is not second.progress
