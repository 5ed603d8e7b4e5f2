"""Side effects that do nothing unless they are given."""

from __future__ import annotations

import pytest

from isnet_cli.core.run_context import Ports, SilentProgress


def test_the_defaults_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    ports = Ports()
    ports.say("x")
    ports.warn("data", "x")
    ports.event("x", a=1)
    assert ports.stop_requested() is False
    assert list(ports.progress.track(iter("ab"), "x", 2)) == ["a", "b"]
    with ports.progress.bar("x", 2) as bar:
        bar.advance(2, loss=0.5)
    assert capfd.readouterr() == ("", "")


def test_ports_do_not_share_their_display() -> None:
    first, second = Ports(), Ports()
    first.progress = SilentProgress()
    assert first.progress is not second.progress
