"""The shared runs: whole, up to date where they lie and where they are copied, guarded."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.core.pipeline import run_pipeline
from isnet_cli.core.run_context import RunContext
from tests.support.trained import FINISHED, TRAINED, TrainedRun, shared_folder

RUNS = (
    "isnet_run", "standard_run", "shapes_run", "multilabel_run", "finished_run",
    "finished_standard_run",
)  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_a_copy_is_up_to_date(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    made: TrainedRun = request.getfixturevalue(name)
    copy = made.copy(tmp_path / "run")
    stages = FINISHED if name.startswith("finished") else TRAINED
    outcomes = run_pipeline(copy.config, copy.folder, RunContext(), stages)
    assert [outcome.status for outcome in outcomes] == ["current"] * len(stages)
    (copy.path / "train" / "model.json").write_text("{}", encoding="utf-8")
    assert (made.path / "train" / "model.json").read_text(encoding="utf-8") != "{}"


def test_a_folder_is_built_once_and_again_after_a_failure(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    built: list[Path] = []

    def fail(place: Path) -> None:
        (place / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        shared_folder(tmp_path_factory, "test-twice", fail)
    for _ in range(2):
        place = shared_folder(tmp_path_factory, "test-twice", built.append)
    assert built == [place]
    assert not (place / "half").exists()
