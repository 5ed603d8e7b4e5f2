"""The parts of running stages that the verbs' own tests do not reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isnet_cli.cli.options import RunOptions
from isnet_cli.cli.running import format_resume_command, run_stages
from isnet_cli.cli.session import Session
from isnet_cli.cli.source import Source
from isnet_cli.core import pipeline
from isnet_cli.core.stage import StageResult
from isnet_cli.errors import EXIT_INTERRUPTED
from tests.cli.factory import isnet, write_inputs


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "a.yaml"], "isnet train a.yaml -o 'my runs/a'"),
        (["train", "a.yaml", "-o", "b c"], "isnet train a.yaml -o 'b c'"),
        (["train", "--output=x"], "isnet train --output=x"),
        (["run", "a.yaml", "--restart"], "isnet run a.yaml -o 'my runs/a'"),
        (["run", "--set", "name=a b"], "isnet run --set 'name=a b' -o 'my runs/a'"),
    ],
)
def test_the_line_that_continues(words: list[str], line: str) -> None:
    assert format_resume_command(Path("my runs/a"), words) == line


class _Stopped:
    """A stage that is stopped by the user."""

    NAME = "ingest"

    def __init__(self, session: Session) -> None:
        self.session = session

    def fingerprint(self, config: Any, folder: Any) -> str:
        return "x"

    def run(self, config: Any, folder: Any, context: Any) -> StageResult:
        self.session.stop_code = EXIT_INTERRUPTED
        return StageResult([], {"done": 3}, complete=not context.stop_requested())


def test_a_stopped_stage_is_incomplete_and_the_next_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    session = Session("run", RunOptions())
    stage = _Stopped(session)
    monkeypatch.setattr(pipeline, "stage_module", lambda name, config=None: stage)
    result = run_stages(session, RunOptions(), Source(), ["ingest", "masks"], report=True)
    assert result.code == EXIT_INTERRUPTED
    assert result.document["status"] == "incomplete"
    assert [entry["stage"] for entry in result.document["stages"]] == ["ingest"]
    assert "report" not in result.document
    assert "stopped in good order; to continue:\n  isnet " in capsys.readouterr().err


def test_a_run_may_end_at_a_stage_without_a_report(tmp_path: Path) -> None:
    config, run = write_inputs(tmp_path, 8), tmp_path / "run"
    done = isnet("run", config, "-o", run, "--until", "masks", "--json")
    assert done.code == 0, done.err
    assert [stage["stage"] for stage in done.document["stages"]] == ["ingest", "masks"]
    assert not (run / "train").exists()
    assert not (run / "report.html").exists()
    assert isnet("run", config, "-o", run, "--until", "report").code == 2
