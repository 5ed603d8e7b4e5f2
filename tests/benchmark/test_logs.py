"""What processes leave to read: events, warnings, errors; names of signals and times."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from isnet_cli.benchmark.logs import (
    EVENTS,
    failure,
    how_far,
    killed,
    lasted,
    log_of,
    warnings_of,
)


def test_how_far_a_run_is(tmp_path: Path) -> None:
    assert how_far(tmp_path, 30) == ""
    events = tmp_path / EVENTS
    events.write_text("")
    assert how_far(tmp_path, 30) == ""
    lines = [{"event": "stage_started", "stage": "train"}]
    events.write_text(json.dumps(lines[0]) + "\n")
    assert how_far(tmp_path, 30) == "train"
    lines += [{"event": "epoch", "epoch": float(n), "more": "x" * 500} for n in range(1, 13)]
    whole = "".join(json.dumps(line) + "\n" for line in lines)
    events.write_text(whole)
    assert how_far(tmp_path, 30) == "12/30"
    events.write_text(whole + '{"event": "epo')
    assert how_far(tmp_path, 30) == ""
    for other in ('{"event": "stage_done", "stage": "train"}', "3", '{"event": "epoch"}'):
        events.write_text(whole + other)
        assert how_far(tmp_path, 30) == ""


def test_words_for_times_and_signals() -> None:
    assert [lasted(s) for s in (75, 700, 9000)] == ["75 s", "12 min", "2.5 h"]
    assert killed(-signal.SIGKILL) == "ended by SIGKILL, as when memory runs out"
    assert killed(-signal.SIGSEGV) == "ended by SIGSEGV"
    assert killed(-250) == "ended by signal 250"


def test_warnings_of_a_task_are_counted(tmp_path: Path) -> None:
    log = log_of(tmp_path, "images/a")
    assert warnings_of(tmp_path, "images/a") == ""
    log.parent.mkdir()
    log.with_suffix(".json").write_text(json.dumps({"warnings": []}))
    assert warnings_of(tmp_path, "images/a") == ""
    log.with_suffix(".json").write_text(json.dumps({"warnings": ["x", "y"]}))
    assert warnings_of(tmp_path, "images/a") == f"2 warnings, see {log}"


def test_the_line_of_a_failure(tmp_path: Path) -> None:
    log = log_of(tmp_path, "cells/a/b/seed-0")
    assert log == tmp_path / "logs" / "cells.a.b.seed-0.log"
    assert failure(tmp_path, "cells/a/b/seed-0") == ""
    log.parent.mkdir()
    log.write_text("one\nKilled\n\n")
    assert failure(tmp_path, "cells/a/b/seed-0") == "Killed"
    fault = {"kind": "data", "message": "no image", "details": ["x.csv:3"], "fix": ""}
    log.with_suffix(".json").write_text(json.dumps({"error": fault}))
    assert failure(tmp_path, "cells/a/b/seed-0") == "error[data]: no image; x.csv:3"
