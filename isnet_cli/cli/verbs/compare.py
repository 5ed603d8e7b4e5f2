"""`isnet compare`: several runs on the same images, with paired tests, as a table and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isnet_cli.cli.options import ScreenOptions, takes
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.source import run_folder
from isnet_cli.errors import EXIT_SKIPPED

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of evaluated runs.")]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FILE", help="HTML file; its data lie beside it."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the files of an earlier comparison.")
]


@takes(ScreenOptions)
def compare(
    options: ScreenOptions,
    runs: Runs,
    output: Output = Path("compare.html"),
    overwrite: Overwrite = False,
) -> int:
    """Compare runs on the same images, with paired tests."""

    def body(session: Session) -> Result:
        from isnet_cli.cli.verbs.compare_text import comparison_text
        from isnet_cli.config.load import load
        from isnet_cli.core.pipeline import open_run
        from isnet_cli.report.compare.write import compare_runs

        chosen = []
        for path in runs:
            config = load(run_folder(path, "RUN") / "isnet.yaml")
            chosen.append((open_run(path, config), config))
        found = compare_runs(chosen, output, session.context(), overwrite=overwrite)
        document = {**found.content, "files": [str(path) for path in found.files]}
        differs = any(one["kind"] == "differs" for one in found.content["left_out"])
        text = comparison_text(found.content, str(found.page))
        return Result(document, text, EXIT_SKIPPED if differs else 0)

    return execute("compare", options, body)
