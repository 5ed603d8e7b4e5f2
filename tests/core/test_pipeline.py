"""Order, up-to-date rule, stops, locks and refusals of the pipeline, with stages of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.config.load import load
from isnet_cli.config.schema import Config
from isnet_cli.core import pipeline
from isnet_cli.core.parallel.locks import hold_run
from isnet_cli.core.parallel.shares import Share
from isnet_cli.core.pipeline import (
    Outcome,
    open_run,
    plan,
    run_pipeline,
    run_share,
    run_stage,
    stage_module,
)
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import STAGES, RunFolder
from isnet_cli.core.stage import StageResult
from isnet_cli.errors import IsnetError


class FakeStage:
    """A stage that depends on one setting and on the stage before it."""

    def __init__(self, name: str, before: str | None, setting: Callable[[Config], Any]) -> None:
        self.NAME = name
        self.before = before
        self.setting = setting
        self.runs = 0
        self.complete = True
        self.fails: Exception | None = None

    def fingerprint(self, config: Config, folder: RunFolder) -> str:
        upstream = folder.require(self.before)["outputs"] if self.before else {}
        return f"{self.setting(config)} {upstream}"

    def run(self, config: Config, folder: RunFolder, context: RunContext) -> StageResult:
        self.runs += 1
        if self.fails is not None:
            raise self.fails
        path = folder.stage_dir(self.NAME) / "out.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.fingerprint(config, folder), encoding="utf-8")
        return StageResult([path], {"runs": self.runs, "skipped": 0}, self.complete)


Stages = dict[str, FakeStage]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stages]:
    settings: list[Callable[[Config], Any]] = [
        lambda c: c.data.max_side,
        lambda c: c.masks.threshold,
        lambda c: c.train.epochs,
        lambda c: c.evaluate.batch_size,
        lambda c: c.heatmap.limit,
    ]
    before = [None, *STAGES[:-1]]
    found = {
        name: FakeStage(name, previous, setting)
        for name, previous, setting in zip(STAGES, before, settings, strict=True)
    }
    monkeypatch.setattr(pipeline, "stage_module", lambda name, config=None: found[name])
    return found  # type: ignore[return-value]


def states(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def changed(**keys: Any) -> Config:
    return load(None, [f"{key.replace('__', '.')}={value}" for key, value in keys.items()])


def test_all_stages_in_order_then_none(stages: Stages, tmp_path: Path) -> None:
    seen: list[str] = []
    folder = RunFolder(tmp_path / "run")
    first = run_pipeline(Config(), folder, RunContext(), after=lambda o: seen.append(o.stage))
    assert [o.stage for o in first] == seen == list(STAGES)
    assert states(first) == ["done"] * 5
    again = run_pipeline(Config(), folder, RunContext())
    assert states(again) == ["current"] * 5
    assert [o.summary for o in again] == [o.summary for o in first]
    assert [stage.runs for stage in stages.values()] == [1] * 5


def test_a_change_runs_its_stage_and_what_depends_on_it(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_pipeline(Config(), folder, RunContext())
    found = run_pipeline(changed(train__epochs=3), folder, RunContext())
    assert states(found) == ["current", "current", "done", "done", "done"]
    assert load(folder.path / "isnet.yaml") == changed(train__epochs=3)


def test_a_damaged_output_is_made_again(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_pipeline(Config(), folder, RunContext())
    (folder.path / "train/out.txt").write_text("damaged", encoding="utf-8")
    found = run_pipeline(Config(), folder, RunContext(), replace=False)
    assert states(found) == ["current", "current", "done", "current", "current"]


def test_without_replace_other_settings_are_refused(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_pipeline(Config(), folder, RunContext())
    with pytest.raises(IsnetError, match="stage 'train' was finished") as caught:
        run_pipeline(changed(train__epochs=3, seed=4), folder, RunContext(), replace=False)
    assert caught.value.details == ("changed: seed, train.epochs",)
    assert load(folder.path / "isnet.yaml") == Config()
    assert stages["train"].runs == 1


def test_without_replace_other_inputs_are_refused(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_pipeline(Config(), folder, RunContext())
    stages["ingest"].setting = lambda config: "new file"
    with pytest.raises(IsnetError, match="stage 'ingest'") as caught:
        run_pipeline(Config(), folder, RunContext(), replace=False)
    assert caught.value.details == ("the input files changed",)


def test_force_does_it_again(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert run_stage(stages["ingest"], Config(), folder, RunContext()).status == "done"
    assert run_stage(stages["ingest"], Config(), folder, RunContext()).status == "current"
    assert run_stage(stages["ingest"], Config(), folder, RunContext(), force=True).status == "done"


def test_an_incomplete_stage_ends_the_run_and_is_continued(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    stages["train"].complete = False
    assert states(run_pipeline(Config(), folder, RunContext())) == ["done", "done", "incomplete"]
    assert folder.stage_record("train") is None
    assert plan(Config(), folder)["train"] == "continue"
    stages["train"].complete = True
    assert states(run_pipeline(Config(), folder, RunContext(), replace=False)) == [
        *("current", "current", "done", "done", "done")
    ]


def test_a_stop_between_stages(stages: Stages, tmp_path: Path) -> None:
    context = RunContext(stop_requested=lambda: stages["masks"].runs > 0)
    found = run_pipeline(Config(), RunFolder(tmp_path / "run"), context)
    assert [(o.stage, o.status) for o in found][-1] == ("train", "incomplete")
    assert stages["train"].runs == 0


def test_a_failed_stage_is_not_done(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    stages["masks"].fails = IsnetError("data", "bad")
    with pytest.raises(IsnetError, match="bad"):
        run_pipeline(Config(), folder, RunContext())
    assert folder.stage_record("ingest") is not None
    assert folder.stage_record("masks") is None


def test_after_may_end_the_run(stages: Stages, tmp_path: Path) -> None:
    def after(outcome: Outcome) -> None:
        raise IsnetError("data", f"no more after {outcome.stage}")

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(IsnetError, match="no more after ingest"):
        run_pipeline(Config(), folder, RunContext(), after=after)
    assert stages["masks"].runs == 0
    assert folder.stage_record("ingest") is not None


def test_the_run_is_held_while_it_works(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")

    def after(outcome: Outcome) -> None:
        with pytest.raises(IsnetError, match="in use"), RunFolder(folder.path).lock():
            pass

    run_pipeline(Config(), folder, RunContext(), ["ingest"], after=after)
    with RunFolder(folder.path).lock():
        pass


def test_shared_stages_come_from_upstream(stages: Stages, tmp_path: Path) -> None:
    up = RunFolder(tmp_path / "up")
    config = changed(upstream=str(up.path))
    with pytest.raises(IsnetError, match="no such run folder"):
        open_run(tmp_path / "down", config)
    up.path.mkdir()
    down = open_run(tmp_path / "down", config)
    with pytest.raises(IsnetError, match="stage 'ingest' is not finished"):
        run_pipeline(config, down, RunContext())
    run_pipeline(Config(), up, RunContext(), ["ingest", "masks"])
    found = run_pipeline(config, down, RunContext())
    assert states(found) == ["current", "current", "done", "done", "done"]
    assert stages["ingest"].runs == 1
    assert not (tmp_path / "down/ingest").exists()


def test_plan_reads_only(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert plan(Config(), folder) == dict.fromkeys(STAGES, "new")
    assert not folder.path.exists()
    run_pipeline(Config(), folder, RunContext())
    assert plan(Config(), folder) == dict.fromkeys(STAGES, "current")
    assert plan(changed(masks__threshold=0.4), folder) == {
        "ingest": "current",
        "masks": "outdated",
        "train": "depends",
        "evaluate": "depends",
        "heatmap": "depends",
    }
    assert plan(changed(heatmap__limit=1), folder)["heatmap"] == "outdated"
    (folder.path / "heatmap/out.txt").unlink()
    assert plan(Config(), folder)["heatmap"] == "continue"


def test_events_tell_the_story(stages: Stages, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []
    context = RunContext(event=lambda name, **fields: seen.append((name, fields["stage"])))
    folder = RunFolder(tmp_path / "run")
    run_pipeline(Config(), folder, context, ["ingest"])
    run_pipeline(Config(), folder, context, ["ingest"])
    assert seen == [
        ("stage_started", "ingest"),
        ("stage_done", "ingest"),
        ("stage_current", "ingest"),
    ]


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_module_keeps_the_contract(name: str) -> None:
    module = stage_module(name)
    assert name == module.NAME
    assert callable(module.run)
    assert callable(module.fingerprint)


def test_a_share_is_done_and_then_the_whole(stages: Stages, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shares = [RunContext(share=Share(i, 2)) for i in (0, 1)]
    stages["ingest"].complete = False  # as a stage that did a share
    assert [run_share("ingest", Config(), folder, c).status for c in shares] == ["share"] * 2
    stopped = RunContext(share=Share(0, 2), stop_requested=lambda: True)
    assert run_share("ingest", Config(), folder, stopped).status == "incomplete"
    assert folder.stage_record("ingest") is None
    stages["ingest"].complete = True
    assert run_stage(stages["ingest"], Config(), folder, RunContext()).status == "done"
    assert run_share("ingest", Config(), folder, shares[0]).status == "current"


def test_shares_need_the_same_settings_and_finished_stages(stages: Stages, tmp_path: Path) -> None:
    folder, second = RunFolder(tmp_path / "run"), RunContext(share=Share(1, 2))
    with pytest.raises(IsnetError, match="stage 'ingest' is not finished"):
        run_share("masks", Config(), folder, second)
    stages["ingest"].complete = False
    run_share("ingest", Config(), folder, RunContext(share=Share(0, 2)))
    with (
        hold_run(folder.path, Share(0, 2)),
        pytest.raises(IsnetError, match="shard 1of2 is at work with other settings"),
    ):
        run_share("ingest", changed(data__max_side=100), folder, second)
