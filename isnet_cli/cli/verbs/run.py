"""`isnet run`, `ingest`, `merge` and `demo`: stages that are out of date, shards, all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from isnet_cli.cli.options import (
    LabelFile,
    RunOptions,
    ScreenOptions,
    Shard,
    StopAfter,
    Target,
    with_options,
)
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import make_image_options
from isnet_cli.cli.source import make_options, require_run, resolve_source
from isnet_cli.errors import IsnetError

Until = Annotated[
    Literal["ingest", "masks", "train", "evaluate", "heatmap"] | None,
    typer.Option("--until", help="Last stage; without a report."),
]


@with_options(RunOptions)
def run(
    options: RunOptions,
    source: Target = None,
    labels: LabelFile = None,
    until: Until = None,
    stop_after: StopAfter = None,
) -> int:
    """Do all of the above that is not up to date, and report."""

    def body(session: Session) -> Result:
        from isnet_cli.core.run_folder import STAGES

        session.stop_after(stop_after)
        found = resolve_source(source, options.config)
        extra = [
            *make_image_options(found),
            *make_options([("--labels", "data.labels.file", labels)]),
        ]
        stages = STAGES if until is None else STAGES[: STAGES.index(until) + 1]
        return run_stages(session, options, found, stages, extra, report=until is None)

    return execute("run", options, body)


@with_options(RunOptions)
def ingest(
    options: RunOptions, source: Target = None, labels: LabelFile = None, shard: Shard = None
) -> int:
    """Read X-rays and labels into images and a manifest."""

    def body(session: Session) -> Result:
        found = resolve_source(source, options.config)
        extra = [
            *make_image_options(found),
            *make_options([("--labels", "data.labels.file", labels)]),
        ]
        return run_stages(session, options, found, ["ingest"], extra, shard=shard)

    return execute("ingest", options, body)


Shards = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of the shards.")]


@with_options(RunOptions)
def merge(options: RunOptions, run: Shards) -> int:
    """Put the shards of a stage together."""

    def body(session: Session) -> Result:
        folder = require_run(run, "isnet merge")
        stages = _find_shared_stages(folder)
        if not stages:
            raise IsnetError(
                "usage",
                f"{folder}: no shards to put together",
                fix=f"isnet masks {folder} --shard 1/4   does a first one of four",
            )
        return run_stages(session, options, resolve_source(folder, options.config), stages)

    return execute("merge", options, body)


def _find_shared_stages(folder: Path) -> list[str]:
    """Stages that were divided, all of whose shards are done.

    Raises:
        IsnetError: Kind "data", when a shard is not.
    """
    from isnet_cli.core.journal import find_shares
    from isnet_cli.core.pipeline import STAGE_MODULES

    found = []
    for stage in STAGE_MODULES:
        count, missing = find_shares(folder / stage)
        if missing:
            raise IsnetError(
                "data",
                f"{folder}: shard {missing[0]}/{count} of stage '{stage}' is not done",
                fix=f"isnet {stage} {folder} --shard {missing[0]}/{count}",
                details=(f"missing: {', '.join(map(str, missing[:20]))}",),
            )
        if count:
            found.append(stage)
    return found


Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the demo.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of images and runs.")]


@with_options(ScreenOptions)
def demo(options: ScreenOptions, output: Output = Path("runs/demo"), seed: Seed = 0) -> int:
    """Run the whole pipeline on synthetic chest images."""

    def body(session: Session) -> Result:
        from isnet_cli.cli.terminal.summaries import format_demo
        from isnet_cli.demo.run import run_demo

        session.folder = output
        document = run_demo(output, session.context(), seed=seed)
        return Result(document, format_demo(document))

    return execute("demo", options, body)
