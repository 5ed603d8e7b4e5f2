"""`isnet report`: one self-contained HTML page about one run, or several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isnet_cli.cli.options import ScreenOptions, takes
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.source import run_folder
from isnet_cli.errors import IsnetError

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="HTML file [report.html in the run]."),
]


@takes(ScreenOptions)
def report(options: ScreenOptions, runs: Runs, output: Output = None) -> int:
    """Write an HTML report on one run or several."""

    def body(session: Session) -> Result:
        from isnet_cli.config.load import load
        from isnet_cli.core.pipeline import open_run
        from isnet_cli.report.write import build_report

        if output is None and len(runs) > 1:
            raise IsnetError("usage", "a report on several runs needs a place: -o FILE")
        folders = [open_run(path, load(run_folder(path, "RUN") / "isnet.yaml")) for path in runs]
        path = build_report(folders, output or runs[0] / "report.html", session.context())
        return Result({"report": str(path)}, str(path))

    return execute("report", options, body)
