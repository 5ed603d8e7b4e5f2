"""What a benchmark's processes have left to read: how far each is, its warnings, why it failed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVENTS = "log.jsonl"  # of a run
TAIL = 4096  # bytes that hold the last event


def log_of(output: Path, name: str) -> Path:
    """Where a task's messages are kept."""
    return output / "logs" / f"{name.replace('/', '.')}.log"


def how_far(run: Path, epochs: int) -> str:
    """Where a run is: ``12/30`` epochs of its training, the name of its stage, or "".

    Args:
        run: Its folder.
        epochs: Of a whole training.
    """
    try:
        with (run / EVENTS).open("rb") as file:
            file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            event = json.loads(file.read().splitlines()[-1])
        if event["event"] == "epoch":
            return f"{event['epoch']:.0f}/{epochs}"
        return str(event.get("stage", "")) if event["event"] == "stage_started" else ""
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ""  # not there yet, or a line that is being written


def lasted(seconds: float) -> str:
    """A duration: ``75 s``, ``12 min``, ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def killed(code: int) -> str:
    """What a process says nothing about: the signal that ended it."""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"ended by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")


def warnings_of(output: Path, name: str) -> str:
    """How many warnings a finished task printed, and where they are; "" without any."""
    log = log_of(output, name)
    try:
        count = len(json.loads(log.with_suffix(".json").read_text("utf-8"))["warnings"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f"{count} warning{'' if count == 1 else 's'}, see {log}" if count else ""


def failure(output: Path, name: str) -> str:
    """The error line of a task that failed: of its document, else the last line it printed."""
    log = log_of(output, name)
    try:
        found: Mapping[str, Any] = json.loads(log.with_suffix(".json").read_text("utf-8"))["error"]
        fault = f"error[{found['kind']}]: {found.get('message', '')}"
        details = [f"; {line}" for line in found.get("details", [])[:1]]
        return "".join([fault, *details])
    except (OSError, ValueError, KeyError, TypeError):
        text = log.read_text("utf-8", "replace") if log.is_file() else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""
