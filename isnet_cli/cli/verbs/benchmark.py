"""`isnet benchmark`: methods x seeds x data settings from one file, and their tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isnet_cli.cli.options import Device, ScreenOptions, StopAfter, with_options
from isnet_cli.cli.running import PLANS, format_resume_command
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.source import check_output_apart
from isnet_cli.errors import EXIT_SKIPPED
from isnet_cli.text.tables import format_table

if TYPE_CHECKING:
    from isnet_cli.benchmark.cells import TaskState
    from isnet_cli.benchmark.run import Outcome

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="Benchmark (YAML).")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of every cell whose row does not set it. Repeatable.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", help="Its folder [runs/NAME].")
]
Jobs = Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Cells at once.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace results of other settings or inputs.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; write nothing.")]


@with_options(ScreenOptions)
def benchmark(
    options: ScreenOptions,
    config: Config,
    output: Output = None,
    jobs: Jobs = 1,
    set_: Changes = None,
    device: Device = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    stop_after: StopAfter = None,
) -> int:
    """Train and score many methods, seeds and data settings."""

    def body(session: Session) -> Result:
        from isnet_cli.benchmark.cells import make_grid
        from isnet_cli.benchmark.run import describe_cells, plan_benchmark, run_benchmark
        from isnet_cli.config.benchmark import load_benchmark

        session.stop_after(stop_after)
        typed = [*(set_ or []), *([f"machine.device={device}"] if device else [])]
        bench = load_benchmark(config, typed)
        folder = output or Path("runs") / bench.name
        grid = make_grid(bench, config, folder)
        for settings in grid.images.values():
            check_output_apart(settings, folder)
        session.hide_names(*grid.images.values())
        session.console.say(describe_cells(grid.cells))
        if dry_run:
            return _plan(folder, plan_benchmark(bench, grid, config, folder))
        session.folder = folder if folder.is_dir() else None
        found = run_benchmark(
            bench, grid, config, folder, session.context(), jobs=jobs, overwrite=overwrite
        )
        return _result(session, folder, found)

    return execute("benchmark", options, body)


def _plan(folder: Path, states: dict[str, TaskState]) -> Result:
    width = max(len(name) for name in states)
    lines = [f"{folder} (dry run, nothing is written)"]
    lines += [f"  {name:<{width}}  {PLANS[state.plan]}" for name, state in states.items()]
    plans = {name: state.plan for name, state in states.items()}
    document = {"benchmark": str(folder), "status": "planned", "plan": plans}
    return Result(document, "\n".join(lines))


def _result(session: Session, folder: Path, found: Outcome) -> Result:
    document: dict[str, Any] = {"benchmark": str(folder), **found.content}
    document["tables"] = [table.document for table in found.tables]
    failed = found.content["failed"]
    code = EXIT_SKIPPED if failed else 0
    if not found.complete:
        session.console.say(
            "stopped in good order; to continue:", f"  {format_resume_command(folder)}"
        )
        code = session.stop_code
    return Result(document, format_benchmark(folder, found), code)


def format_benchmark(folder: Path, found: Outcome) -> str:
    """What the command prints: the tables without most of their intervals."""
    parts, notes = [], list[str]()
    for one in found.tables:
        parts.append(f"{one.title}\n{format_table(one.head, one.brief)}")
        notes += [note for note in one.notes if note not in notes]
    parts += ["\n".join(notes)] if notes else []
    failed = [f"  {one['task']}: {one['error']}" for one in found.content["failed"]]
    parts += ["\n".join(["not done:", *failed])] if failed else []
    pages = ["benchmark.md", *found.content["pages"]]
    parts.append("\n".join(f"page: {folder / page}" for page in pages))
    return "\n\n".join(parts)
