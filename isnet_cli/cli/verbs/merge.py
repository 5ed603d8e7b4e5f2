"""`isnet merge`: what several commands with ``--shard`` did becomes the result of their stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isnet_cli.cli.options import RunOptions, with_options
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.source import require_run, resolve_source
from isnet_cli.errors import IsnetError

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of the shards.")]


@with_options(RunOptions)
def merge(options: RunOptions, run: Run) -> int:
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
