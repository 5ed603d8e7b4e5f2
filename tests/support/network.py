"""The guard that keeps tests off the network."""

from __future__ import annotations

import socket
from typing import Any


class NetworkUsedError(AssertionError):
    """A test reached for the network."""


def guard(method: str) -> Any:
    original = getattr(socket.socket, method)

    def guarded(self: socket.socket, *arguments: Any) -> Any:
        if self.family != getattr(socket, "AF_UNIX", None):  # between our own processes
            raise NetworkUsedError(f"socket.{method}: tests use no network")
        return original(self, *arguments)

    return guarded


def refuse(*arguments: Any, **options: Any) -> Any:
    raise NetworkUsedError("name look-up: tests use no network")
