"""The run's event log: one JSON object per line, appended, without identity."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isnet_cli.guard.opening import check_regular
from isnet_cli.text.forms import format_json

LOG = "log.jsonl"


class EventLog:
    """Appends events to ``log.jsonl``; a line that a kill cut short stays alone.

    Args:
        folder: The run folder; it and the file are made by the first event.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def __call__(self, name: str, **fields: Any) -> None:
        """Appends one event.

        Args:
            name: What happened, a short snake_case word.
            **fields: JSON-able facts; NaN and infinity become null. Names, ids and dates of
                patients do not belong here.
        """
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name}
        line = format_json({**entry, **_finite(fields)}, indent=None, default=str)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            check_regular(self.path)
        with self.path.open("ab+") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a run was killed while it wrote
                    file.write(b"\n")
            file.write(line.encode("utf-8") + b"\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
