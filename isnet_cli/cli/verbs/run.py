"""`isnet run` and `isnet ingest`: every stage that is out of date, or the first alone."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from isnet_cli.cli.options import (
    LabelFile,
    RunOptions,
    Shard,
    StopAfter,
    Target,
    with_options,
)
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import make_image_options
from isnet_cli.cli.source import make_options, resolve_source

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
