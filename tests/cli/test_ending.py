from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import ctypes, os, sys
from isnet_cli.cli import ending
from isnet_cli.cli.options import ScreenOptions
from isnet_cli.cli.session import Result, execute
ending.GRACE_SECONDS = ending.SECOND_SECONDS = 0.2

def body(session):
    print("ready", file=sys.stderr, flush=True)
    if sys.argv[1] == "hanging":
        ctypes.CDLL(None).pause()  # in C code, and again after each signal
        while True:
            ctypes.CDLL(None).sleep(600)
    while not session.stop_requested():
        ctypes.CDLL(None).usleep(10_000)
    return Result({"status": "incomplete"}, code=session.stop_code)

options = ScreenOptions(json=True, quiet=True, verbose=0, no_progress=True)
os._exit(execute("ingest", options, body))
"""


@pytest.mark.parametrize(
    ("state", "number", "code"),
    [
        ("hanging", signal.SIGTERM, 143),
        ("hanging", signal.SIGINT, 130),
        ("working", signal.SIGTERM, 143),
    ],
)
def test_one_signal_ends_a_command_in_time(
    tmp_path: Path, child_environment: dict[str, str], state: str, number: int, code: int
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), state], env=child_environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    while process.stderr.readline().strip() != "ready":
        pass
    began = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert time.monotonic() - began < 10
    document = json.loads(output)
    if state == "hanging":
        assert (document["exit_code"], document["error"]["kind"]) == (code, "stopped")
    else:
        assert document["status"] == "incomplete"
