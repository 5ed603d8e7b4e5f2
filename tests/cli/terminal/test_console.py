"""Which stream gets what, and when there are colours."""

from __future__ import annotations

import json
import sys

import pytest

from isnet_cli.cli.terminal import console
from isnet_cli.cli.terminal.console import Console, is_terminal
from isnet_cli.cli.terminal.live import LiveProgress
from isnet_cli.cli.terminal.progress import PlainProgress
from isnet_cli.core.run_context import SilentProgress
from isnet_cli.errors import IsnetError


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "is_terminal", lambda: True)


def test_results_on_stdout_the_rest_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Console()
    screen.say("said")
    screen.warn("data", "odd")
    screen.fail(IsnetError("data", "bad", fix="mend"))
    screen.result("result")
    captured = capsys.readouterr()
    assert captured.out == "result\n"
    assert captured.err == "said\nwarning[data]: odd\nerror[data]: bad\n  fix: mend\n"
    assert screen.warnings == ["warning[data]: odd"]


def test_quiet_keeps_warnings_errors_and_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Console(quiet=True)
    screen.say("said")
    screen.warn("data", "odd")
    screen.result("result")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("result\n", "warning[data]: odd\n")


def test_details_are_for_v(capsys: pytest.CaptureFixture[str]) -> None:
    Console().detail("more")
    Console(verbose=1).detail("more")
    assert capsys.readouterr().err == "more\n"


def test_documents_survive_any_text(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"a": "ä\ud800\n", "b": [1.5, None]}
    Console().document(content)
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == content


@pytest.mark.usefixtures("terminal")
def test_colours_on_a_terminal_mark_the_category(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Console()
    screen.warn("data", "odd")
    screen.say("a: b")
    assert capsys.readouterr().err == "\x1b[33mwarning[data]\x1b[0m: odd\na: b\n"


@pytest.mark.usefixtures("terminal")
def test_no_color_is_obeyed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    Console().warn("data", "odd")
    assert capsys.readouterr().err == "warning[data]: odd\n"


@pytest.mark.usefixtures("terminal")
def test_the_display_fits_the_terminal() -> None:
    assert isinstance(Console().progress, LiveProgress)
    assert isinstance(Console(quiet=True).progress, SilentProgress)
    assert isinstance(Console(progress=False).progress, SilentProgress)


def test_without_a_terminal_there_are_plain_lines() -> None:
    assert isinstance(Console().progress, PlainProgress)


@pytest.mark.parametrize(
    ("tty", "term", "found"),
    [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)],
)
def test_what_counts_as_a_terminal(
    tty: bool, term: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stderr", type("Stream", (), {"isatty": lambda self: tty})())
    assert is_terminal() is found
