"""`isnet run`: every stage that is out of date, in order."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from isnet_cli.cli.arguments import LabelFile, StopAfter, Target
from isnet_cli.cli.options import RunOptions, takes
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import image_options
from isnet_cli.cli.source import option_list, resolve

Until = Annotated[
    Literal["ingest", "masks", "train", "evaluate", "heatmap"] | None,
    typer.Option("--until", help="Last stage; without a report."),
]


@takes(RunOptions)
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
        found = resolve(source, options.config)
        extra = [*image_options(found), *option_list([("--labels", "data.labels.file", labels)])]
        stages = STAGES if until is None else STAGES[: STAGES.index(until) + 1]
        return run_stages(session, options, found, stages, extra, report=until is None)

    return execute("run", options, body)
