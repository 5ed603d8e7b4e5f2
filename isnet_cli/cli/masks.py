"""`isnet masks`: lung masks, given or by the built-in U-Net, with a quality table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isnet_cli.cli.arguments import Target
from isnet_cli.cli.options import RunOptions, takes
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import film_options
from isnet_cli.cli.source import option_list, resolve

Files = Annotated[
    Path | None,
    typer.Option("--files", metavar="DIR", help="Folder of given masks instead of the U-Net."),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", metavar="P", help="Lung where the U-Net says at least P [0.5]."),
]
Keep = Annotated[int | None, typer.Option("--keep", metavar="N", help="Largest parts to keep [2].")]


@takes(RunOptions)
def masks(
    options: RunOptions,
    source: Target = None,
    files: Files = None,
    threshold: Threshold = None,
    keep: Keep = None,
) -> int:
    """Make lung masks of X-rays, with a quality table."""

    def body(session: Session) -> Result:
        found = resolve(source, options.config)
        extra = option_list(
            [
                ("--files", "masks.files", files),
                ("--threshold", "masks.threshold", threshold),
                ("--keep", "masks.postprocess.keep", keep),
            ]
        )
        return run_stages(
            session, options, found, ["ingest", "masks"], [*film_options(found), *extra]
        )

    return execute("masks", options, body)
