"""The guards of the suite do guard."""

from __future__ import annotations

import multiprocessing
import socket
import subprocess
import sys

import pytest

from tests.support.network import NetworkUsedError


def test_a_connection_is_refused() -> None:
    with socket.socket() as plug, pytest.raises(NetworkUsedError):
        plug.connect(("127.0.0.1", 9))


def test_a_listener_is_refused() -> None:
    with socket.socket() as plug, pytest.raises(NetworkUsedError):
        plug.bind(("127.0.0.1", 0))


def test_a_name_lookup_is_refused() -> None:
    with pytest.raises(NetworkUsedError):
        socket.create_connection(("example.org", 80), timeout=1)


def test_processes_of_ours_may_talk() -> None:
    with multiprocessing.Manager() as manager:
        assert list(manager.list([1])) == [1]


def test_child_processes_are_refused_too(child_environment: dict[str, str]) -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "NETWORK USED" in done.stderr
