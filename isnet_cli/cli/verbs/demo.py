"""`isnet demo`: the whole pipeline on phantom images that it makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isnet_cli.cli.options import ScreenOptions, with_options
from isnet_cli.cli.session import Result, Session, execute

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
