"""One stage by all processes of a command."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from isnet_cli.config.schema import Config
from isnet_cli.core.parallel.processes import ALONE
from isnet_cli.core.parallel.shares import Share
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.stage import Stage, StageResult


def run_together(
    stage: Stage, config: Config, folder: RunFolder, context: RunContext, shared: dict[str, Any]
) -> StageResult | None:
    """A stage by several processes; its result in process 0, None in the others.

    A stage with `TOGETHER` is run by all at once. One with `SHARES` is run by each for its share of
    the images, then by process 0, which finds the shares done. Others are run by process 0.
    """
    processes = context.processes
    if getattr(stage, "TOGETHER", False):
        result = stage.run(config, folder, context, **shared)
        processes.wait()
        return result if processes.leads else None
    if getattr(stage, "SHARES", False):
        share = Share(processes.rank, processes.count)
        result = stage.run(config, folder, replace(context, share=share), **shared)
        if processes.any(context.stop_requested()):
            return result if processes.leads else None
    if not processes.leads:
        return None
    alone = replace(context, processes=ALONE)
    return stage.run(config, folder, alone, **shared)
