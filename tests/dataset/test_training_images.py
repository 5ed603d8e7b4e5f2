"""Images are left out for a reason that is counted."""

from __future__ import annotations

from pathlib import Path

from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.train import stage as train
from tests.support.runs import make_run, small_config


def test_suspect_masks_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", verdicts={"train/000": "suspect", "train/001": "missing"})
    summary = run_stage(train, small_config(), folder, RunContext()).summary
    assert summary["left_out"] == {"suspect mask": 1, "no mask": 1}
    assert summary["images"]["train"] == 10
