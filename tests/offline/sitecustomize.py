"""Loaded by the Python processes that tests start: forbids the network there too."""

import socket
import sys


def _refuse(*arguments: object, **options: object) -> object:
    sys.stderr.write("NETWORK USED\n")
    raise OSError("tests use no network")


class _Socket(socket.socket):
    def connect(self, address: object) -> None:  # type: ignore[override]
        if self.family != getattr(socket, "AF_UNIX", None):
            _refuse()
        super().connect(address)  # type: ignore[arg-type]


socket.socket = _Socket  # type: ignore[misc]
socket.getaddrinfo = _refuse  # type: ignore[assignment]
