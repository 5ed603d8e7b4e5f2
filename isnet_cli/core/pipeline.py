"""Runs stages in order, each only when it is out of date: the same command starts or continues."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from isnet_cli.config.load import changed_keys, dump, plain
from isnet_cli.config.schema import Config
from isnet_cli.config.yaml_tree import parse
from isnet_cli.core.files import fingerprint as hash_of
from isnet_cli.core.names import is_onnx
from isnet_cli.core.parallel.locks import refuse_other_settings, register_share
from isnet_cli.core.parallel.together import run_together
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import STAGES, RunFolder
from isnet_cli.core.stage import Stage, StageResult
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
    "report": "isnet_cli.report.stage",
}  # by name: imports point down, and `isnet --help` must not load what a stage needs
ONNX_MODULE = "isnet_cli.inference.onnx_stage"  # in place of `predict`
EXAMPLES = 5  # changed keys that a message names
UNKNOWN = "unknown"  # fingerprint of a first run until its inputs are read
USERS = ("evaluate", "predict", "heatmap")  # stages with a key `model`
Status = Literal["current", "done", "incomplete", "share"]
Plan = Literal["current", "new", "continue", "outdated", "depends"]


@dataclass(frozen=True)
class Outcome:
    """What became of one stage.

    Attributes:
        stage: Name of the stage.
        status: ``current``: nothing had to be done; ``done``; ``incomplete``: stopped in good
            order, the same call continues; ``share``: the share that was asked for is done.
        summary: The stage's figures.
    """

    stage: str
    status: Status
    summary: dict[str, Any] = field(default_factory=dict)


def stage_module(name: str, config: Config | None = None) -> Stage:
    """The module of the stage called `name`, imported on demand.

    Args:
        name: Of the stage.
        config: The configuration: a model in an ONNX file predicts without torch.
    """
    module = STAGE_MODULES[name]
    if name == "predict" and config is not None and is_onnx(config.predict.model):
        module = ONNX_MODULE
    return cast(Stage, importlib.import_module(module))


def open_run(path: Path, config: Config) -> RunFolder:
    """The run folder at `path`, with the upstream run that the configuration names.

    An upstream run that was moved or copied together with this one is found where it stands beside
    it; of two, the one that this run's results were made from is taken.

    Raises:
        IsnetError: Kind "config", when there is none.
    """
    if not config.upstream:
        return RunFolder(path)
    places = [Path(config.upstream)]
    beside = RunFolder(path).record().get("upstream")
    if isinstance(beside, str):
        places.append(Path(os.path.normpath(os.path.join(os.path.realpath(path), beside))))
    there = [RunFolder(place) for place in dict.fromkeys(places) if place.is_dir()]
    if not there:
        more = f", nor {places[1]}" if len(places) > 1 else ""
        raise IsnetError(
            "config",
            f"upstream: {places[0]}{more}: no such run folder, expected the run that has the images"
            " and masks",
            fix="--set upstream=RUN, RUN the folder of that run; copy it along with this one",
        )
    if len(there) > 1:
        there.sort(key=lambda one: not RunFolder(path).fits(one))
    return RunFolder(path, there[0])


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
    with folder.lock() if context.processes.leads else contextlib.nullcontext():
        for name in stages:
            if context.processes.any(context.stop_requested()):
                outcomes.append(Outcome(name, "incomplete"))
                break
            outcome = _update(stage_module(name, config), config, folder, context, replace=replace)
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
        getattr(stage_module(name, config), "preflight", lambda config: None)(config)


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
    stage = stage_module(name, config)
    shared = _prepare(stage, config)
    if _find_lost(stage, config, folder, shared):
        return "current"
    digest = stage.fingerprint(config, folder, **shared)
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
    """Brings a stage up to date; one that is so already says again what the user should know."""
    outcome = _do_update(stage, config, folder, context, force=force, replace=replace)
    if outcome.status == "current" and context.processes.leads:
        getattr(stage, "remind", lambda folder, context: None)(folder, context)
    return outcome


@dataclass(frozen=True)
class _Begun:
    """A stage that has been recorded as begun.

    Attributes:
        digest: Its fingerprint; `UNKNOWN` where that is asked for after it.
        sources: Digests of the results that it is made from.
    """

    digest: str
    sources: dict[str, str]


def _do_update(
    stage: Stage,
    config: Config,
    folder: RunFolder,
    context: RunContext,
    *,
    force: bool,
    replace: bool,
) -> Outcome:
    shared = _prepare(stage, config)
    processes = context.processes
    begun: Outcome | _Begun | None = None
    if processes.leads:
        begun = _begin(stage, config, folder, context, shared, force=force, replace=replace)
    if processes.count == 1:
        if isinstance(begun, Outcome):
            return begun
        assert begun is not None  # noqa: S101 - one process alone leads
        result = stage.run(config, folder, context, **shared)
        return _finish(stage, config, folder, context, shared, begun, result)
    if found := processes.broadcast(asdict(begun) if isinstance(begun, Outcome) else None):
        return Outcome(**found)
    done = run_together(stage, config, folder, context, shared)
    outcome = None
    if done is not None:
        assert isinstance(begun, _Begun)  # noqa: S101 - process 0 has begun
        outcome = _finish(stage, config, folder, context, shared, begun, done)
    return Outcome(**processes.broadcast(None if outcome is None else asdict(outcome)))


def run_share(
    name: str, config: Config, folder: RunFolder, context: RunContext, *, replace: bool = True
) -> Outcome:
    """Does the share of `context` of a stage; `run_stage` then finds it done.

    Args:
        name: Of the stage.
        config: The whole configuration.
        folder: The run; other commands may do their shares at the same time.
        context: Side effects, and the share.
        replace: As in `run_stage`.

    Returns:
        Status ``share`` when the share is done, ``incomplete`` when a stop was asked for, else as
        `run_stage`.

    Raises:
        IsnetError: As `run_stage`; kind "config", when another share is at work on other settings.
    """
    stage = stage_module(name, config)
    keep_freed_memory()
    preflight(config, [name])
    with folder.lock(context.share):
        with register_share(folder.path):
            refuse_other_settings(folder.path, dump(config), context.share)
            shared = _prepare(stage, config)
            begun = _begin(stage, config, folder, context, shared, force=False, replace=replace)
        if isinstance(begun, Outcome):
            return begun
        result = stage.run(config, folder, context, **shared)
    status: Status = "incomplete" if context.stop_requested() else "share"
    return Outcome(name, status, result.summary)


def _begin(
    stage: Stage,
    config: Config,
    folder: RunFolder,
    context: RunContext,
    shared: dict[str, Any],
    *,
    force: bool,
    replace: bool,
) -> Outcome | _Begun:
    """The outcome of a stage that is up to date; else it is recorded as begun."""
    name = stage.NAME
    if folder.owner(name) is not folder:
        summary = folder.require(name)["summary"]
        if damage := folder.find_damage(name):
            raise _damaged_upstream(name, folder, damage)
        return Outcome(name, "current", summary)
    finished = folder.stage_record(name)
    if not force and finished is not None and (lost := _find_lost(stage, config, folder, shared)):
        context.say(f"{name}: {lost}: what the run holds of it is used")
        return Outcome(name, "current", finished["summary"])
    late = finished is None and getattr(stage, "LATE", False)
    digest = UNKNOWN if late else stage.fingerprint(config, folder, **shared)
    if not force and finished is not None and folder.is_current(name, digest):
        context.event("stage_current", stage=name)
        return Outcome(name, "current", finished["summary"])
    derived = getattr(stage, "DERIVED", False)
    if finished is not None and finished["fingerprint"] != digest and not (replace or derived):
        raise _in_the_way(name, folder, config)
    if not derived:
        folder.save_config(dump(config))
    sources = _find_sources(name, config, folder)
    folder.begin(name, digest)
    context.event("stage_started", stage=name)
    return _Begun(digest, sources)


def _finish(
    stage: Stage,
    config: Config,
    folder: RunFolder,
    context: RunContext,
    shared: dict[str, Any],
    begun: _Begun,
    result: StageResult,
) -> Outcome:
    name = stage.NAME
    if not result.complete:
        context.event("stage_incomplete", stage=name)
        return Outcome(name, "incomplete", result.summary)
    if begun.sources != _find_sources(name, config, folder):
        raise _changed_meanwhile(name, folder)
    late = begun.digest == UNKNOWN
    folder.finish(
        name,
        stage.fingerprint(config, folder, **shared) if late else begun.digest,
        result.outputs,
        result.summary,
        products=result.products,
        settings=hash_settings(stage, config),
        made_from=begun.sources,
    )
    context.event("stage_done", stage=name)
    return Outcome(name, "done", result.summary)


def hash_settings(stage: Stage, config: Config) -> str | None:
    """Hash of the settings that a stage's result depends on; None for a stage that names none."""
    settings = getattr(stage, "settings", None)
    return None if settings is None else hash_of(settings(config))


def _find_sources(name: str, config: Config, folder: RunFolder) -> dict[str, str]:
    """Digests of the results that a stage is made from; a model of another run is none of them."""
    section = getattr(config, name, None)
    elsewhere = getattr(section, "model", None) is not None if name in USERS else False
    return folder.made_from(name, without=("train",) if elsewhere else ())


def _find_lost(stage: Stage, config: Config, folder: RunFolder, shared: dict[str, Any]) -> str:
    """What a finished, sound result was made from and is not there any more; "" else."""
    find, finished = getattr(stage, "find_lost", None), folder.stage_record(stage.NAME)
    if find is None or finished is None:
        return ""
    if finished.get("settings") != hash_settings(stage, config):
        return ""
    lost: str = find(config, folder, **shared)
    return "" if lost and folder.find_damage(stage.NAME) else lost


def _damaged_upstream(stage: str, folder: RunFolder, damage: str) -> IsnetError:
    owner = folder.owner(stage).path
    return IsnetError(
        "data",
        f"{owner}: {damage}",
        fix=f"isnet {stage} {owner}   makes it again",
    )


def _changed_meanwhile(stage: str, folder: RunFolder) -> IsnetError:
    owner = folder.owner("ingest").path
    return IsnetError(
        "data",
        f"{owner}: its images or masks were made anew while stage '{stage}' of {folder.path} used"
        " them",
        fix="the same command does the stage again; --overwrite replaces what was finished before",
    )


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
