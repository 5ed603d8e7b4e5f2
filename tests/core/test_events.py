"""The event log."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path

from isnet_cli.core.events import EventLog


def events(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_events_are_appended_in_order(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    log("stage_started", stage="ingest")
    EventLog(tmp_path / "run")("stage_done", stage="ingest", seconds=1.5)
    found = events(tmp_path / "run/log.jsonl")
    assert [entry["event"] for entry in found] == ["stage_started", "stage_done"]
    assert found[1]["seconds"] == 1.5
    times = [datetime.fromisoformat(str(entry["time"])) for entry in found]
    assert times == sorted(times)
    assert times[0].tzinfo is not None


def test_any_value_becomes_valid_json(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log("x", nan=math.nan, deep={"a": [math.inf, 1]}, path=Path("a"), text="ä\n\ud800")
    (entry,) = events(tmp_path / "log.jsonl")
    assert entry["nan"] is None
    assert entry["deep"] == {"a": [None, 1]}
    assert entry["path"] == "a"
    assert str(entry["text"]).startswith("ä\n")


def test_a_torn_line_of_a_killed_run_does_not_spoil_the_next(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log("a")
    with log.path.open("ab") as file:
        file.write(b'{"event": "torn')
    EventLog(tmp_path)("b")
    lines = log.path.read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["event"] == "b"
