"""Runs stages in order, each only when it is out of date: the same command starts or continues."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from isnet_cli.config.load import changed_keys, dump, plain
from isnet_cli.config.schema import Config
from isnet_cli.config.yaml_tree import parse
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import STAGES, RunFolder
from isnet_cli.core.stage import Stage
from isnet_cli.errors import IsnetError
from isnet_cli.guard.memory import keep_freed_memory
from isnet_cli.guard.opening import read_text

STAGE_MODULES = {
    "ingest": "isnet_cli.ingest.stage",
    "masks": "isnet_cli.masks.stage",
    "train": "isnet_cli.train.stage",
    "evaluate": "isnet_cli.evaluate.stage",
    "predict": "isnet_cli.inference.stage",
    "heatmap": "isnet_cli.heatmap.stage",
}  # by name: imports point down, and `isnet --help` must not load what a stage needs
EXAMPLES = 5  # changed keys that a message names
Status = Literal["current", "done", "incomplete"]
Plan = Literal["current", "new", "continue", "outdated", "depends"]


@dataclass(frozen=True)
class Outcome:
    """What became of one stage.

    Attributes:
        stage: Name of the stage.
        status: ``current``: nothing had to be done; ``done``; ``incomplete``: stopped in good
            order, the same call continues.
        summary: The stage's figures.
    """

    stage: str
    status: Status
    summary: dict[str, Any] = field(default_factory=dict)


def stage_module(name: str) -> Stage:
    """The module of the stage called `name`, imported on demand."""
    return cast(Stage, importlib.import_module(STAGE_MODULES[name]))


def open_run(path: Path, config: Config) -> RunFolder:
    """The run folder at `path`, with the upstream run that the configuration names."""
    upstream = RunFolder(Path(config.upstream)) if config.upstream else None
    if upstream is not None and not upstream.path.is_dir():
        raise IsnetError(
            "config",
            f"upstream: {upstream.path}: no such run folder",
            fix="set upstream to the folder of a run, or leave it out",
        )
    return RunFolder(path, upstream)


def run_stage(
    stage: Stage,
    config: Config,
    folder: RunFolder,
    context: RunContext,
    *,
    force: bool = False,
    replace: bool = True,
) -> Outcome:
    """Brings one stage up to date while holding the run folder's lock.

    Args:
        stage: Module of the stage.
        config: The whole configuration.
        folder: The run.
        context: Side effects.
        force: Do the work even when the recorded result is up to date.
        replace: Allow a finished result of other settings or inputs to be replaced.

    Raises:
        IsnetError: From the stage; kind "config" when a finished result is in the way and
            `replace` is false; kind "machine" when another process holds the run.
    """
    with folder.lock():
        return _update(stage, config, folder, context, force=force, replace=replace)


def run_pipeline(
    config: Config,
    folder: RunFolder,
    context: RunContext,
    stages: Sequence[str] = STAGES,
    *,
    replace: bool = True,
    after: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Brings `stages` up to date one after the other; stops early when asked to.

    Args:
        config: The whole configuration.
        folder: The run; its lock is held throughout.
        context: Side effects.
        stages: Names, in order.
        replace: Allow finished results of other settings or inputs to be replaced.
        after: Called with each outcome before the next stage begins; may raise to end the run.

    Returns:
        One outcome per stage that was reached; the last may be ``incomplete``.

    Raises:
        IsnetError: As `run_stage`.
    """
    outcomes: list[Outcome] = []
    keep_freed_memory()
    preflight(config, stages)
    with folder.lock():
        for name in stages:
            if context.stop_requested():
                outcomes.append(Outcome(name, "incomplete"))
                break
            outcome = _update(stage_module(name), config, folder, context, replace=replace)
            outcomes.append(outcome)
            after(outcome)
            if outcome.status == "incomplete":
                break
    return outcomes


def preflight(config: Config, stages: Sequence[str]) -> None:
    """Lets `stages` refuse what they can refuse before any of them begins.

    Raises:
        IsnetError: From a stage.
    """
    for name in stages:
        getattr(stage_module(name), "preflight", lambda config: None)(config)


def plan(config: Config, folder: RunFolder, stages: Sequence[str] = STAGES) -> dict[str, Plan]:
    """What `run_pipeline` would find; reads only.

    Returns:
        Per stage ``current``: nothing to do; ``new``; ``continue``: begun and not finished;
        ``outdated``: finished with other settings or inputs; ``depends``: finished, and a stage
        before it will make its inputs again.

    Raises:
        IsnetError: When inputs are missing that no stage of `stages` makes.
    """
    plans: dict[str, Plan] = {}
    for name in stages:
        earlier_done = all(state == "current" for state in plans.values())
        plans[name] = _plan_one(name, config, folder, earlier_done)
    return plans


def _plan_one(name: str, config: Config, folder: RunFolder, earlier_done: bool) -> Plan:
    if folder.owner(name) is not folder:
        folder.require(name)
        return "current"
    finished = folder.stage_record(name)
    if finished is None:
        return "continue" if name in folder.record()["stages"] else "new"
    if not earlier_done:
        return "depends"
    digest = stage_module(name).fingerprint(config, folder)
    if folder.is_current(name, digest):
        return "current"
    return "continue" if finished["fingerprint"] == digest else "outdated"


def _update(
    stage: Stage,
    config: Config,
    folder: RunFolder,
    context: RunContext,
    *,
    force: bool = False,
    replace: bool = True,
) -> Outcome:
    name = stage.NAME
    if folder.owner(name) is not folder:
        return Outcome(name, "current", folder.require(name)["summary"])
    shared = _prepare(stage, config)
    digest = stage.fingerprint(config, folder, **shared)
    finished = folder.stage_record(name)
    if not force and finished is not None and folder.is_current(name, digest):
        context.event("stage_current", stage=name)
        return Outcome(name, "current", finished["summary"])
    if finished is not None and finished["fingerprint"] != digest and not replace:
        raise _in_the_way(name, folder, config)
    folder.save_config(dump(config))
    folder.begin(name, digest)
    context.event("stage_started", stage=name)
    result = stage.run(config, folder, context, **shared)
    if not result.complete:
        context.event("stage_incomplete", stage=name)
        return Outcome(name, "incomplete", result.summary)
    folder.finish(name, digest, result.outputs, result.summary)
    context.event("stage_done", stage=name)
    return Outcome(name, "done", result.summary)


def _prepare(stage: Stage, config: Config) -> dict[str, Any]:
    """What a stage's fingerprint and run share, as arguments of both."""
    prepare = getattr(stage, "prepare", None)
    return {} if prepare is None else {"prepared": prepare(config)}


def _in_the_way(stage: str, folder: RunFolder, config: Config) -> IsnetError:
    record = folder.path / "isnet.yaml"
    old = parse(read_text(record)).value if record.is_file() else {}
    changed = changed_keys(old, plain(config)) if isinstance(old, dict) else []
    shown = ", ".join(changed[:EXAMPLES]) + (" ..." if len(changed) > EXAMPLES else "")
    return IsnetError(
        "config",
        f"{folder.path}: stage '{stage}' was finished with other settings or inputs",
        details=(f"changed: {shown}",) if changed else ("the input files changed",),
        fix="--overwrite replaces it; -o DIR writes a new run; --restart moves this run aside",
    )
