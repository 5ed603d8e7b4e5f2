"""Streams as a process may find them: closed, full, without a reader, in ASCII."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from isnet_cli.cli.app import main
from isnet_cli.cli.terminal import streams
from isnet_cli.errors import IsnetError


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of shell in which ISNET is the command."""
    words = f"'{sys.executable}' -m isnet_cli.cli.app"
    return subprocess.run(
        ["bash", "-c", command.replace("ISNET", words)], capture_output=True, text=True,
        check=False, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("ISNET --version 2>&-", 0, ""),
        ("ISNET --version <&-", 0, ""),
        ("ISNET --version >/dev/full", 6, "no space left on device"),
        ("ISNET --help >&-", 6, "stdout: the result cannot be printed (closed)"),
        ("ISNET check nowhere.yaml 2>&-", 3, ""),
        ("ISNET check nowhere.yaml >&- 2>&- <&-", 3, ""),
        ("ISNET check --nothing 2>/dev/full", 2, ""),
        ("{ ISNET --help; echo $? >&2; } | true", None, "0"),
        ("LC_ALL=C PYTHONIOENCODING=ascii ISNET check 'ä\\e[1m.yaml'", 3, "\\xe4"),
    ],
)
@pytest.mark.slow
def test_streams_of_a_process(command: str, code: int | None, said: str) -> None:
    done = shell(command)
    assert code is None or done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.slow
def test_a_result_that_cannot_be_printed_is_an_error_of_the_machine() -> None:
    done = shell("ISNET doctor --json >/dev/full")
    assert (done.returncode, done.stderr.partition(":")[0]) == (6, "error[machine]")
    assert shell("ISNET doctor 2>&-").stdout.startswith("isnet ")


class _Broken:
    """A stream that fails with one error."""

    encoding = "utf-8"

    def __init__(self, number: int) -> None:
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))

    def flush(self) -> None:
        raise OSError(self.number, os.strerror(self.number))


def test_a_message_that_cannot_be_printed_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (5, 28, 32):
        monkeypatch.setattr(sys, "stderr", _Broken(number))
        streams.write_error("x")


def test_a_reader_that_went_away_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", _Broken(32))
    streams.write_result("x")
    monkeypatch.setattr(sys, "stdout", _Broken(28))
    with pytest.raises(IsnetError, match="no space left on device"):
        streams.write_result("x")


def test_a_failure_is_not_hidden_by_a_stream_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdout", _Broken(28))
    monkeypatch.setattr(sys, "stderr", _Broken(28))
    assert main(["check", str(tmp_path / "none.yaml"), "--json"]) == 3
    assert main(["check", "--nothing"]) == 2
    assert main(["--version"]) == 6
