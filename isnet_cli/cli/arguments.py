"""Arguments that several verbs take in the same form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[
    Path | None,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="Configuration (YAML), folder of X-rays, file, list, or run folder [isnet.yaml].",
    ),
]
LabelFile = Annotated[
    Path | None, typer.Option("--labels", metavar="CSV", help="Labels of the X-rays.")
]
StopAfter = Annotated[
    str | None,
    typer.Option(
        "--stop-after",
        metavar="TIME",
        help="Stop in good order after 90s, 45m or 8h, with code 0; for queues.",
    ),
]
ModelRun = Annotated[
    Path | None,
    typer.Option("--model", metavar="RUN", help="Run folder whose trained model is used."),
]
Device = Annotated[
    str | None,
    typer.Option("-d", "--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, help="Seed of all random choices.")
]
