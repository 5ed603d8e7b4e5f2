"""The command `isnet`: its verbs, its exit codes, its entry point."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from isnet_cli import __version__
from isnet_cli.cli.terminal.streams import (
    explain_lost_output,
    is_reader_gone,
    sound_streams,
    write_error,
)
from isnet_cli.cli.verbs import (
    benchmark,
    check,
    evaluate,
    export,
    heatmap,
    masks,
    predict,
    report,
    run,
    runs,
)
from isnet_cli.cli.verbs import train as train_verb
from isnet_cli.errors import EXIT_CODES, EXIT_INTERRUPTED
from isnet_cli.text.forms import for_terminal

EPILOG = """\b
Exit codes:
  0  done                      5  model or weights wrong or missing
  1  our bug                   6  machine: device, memory, disk
  2  command line wrong        7  done, but some inputs were skipped
  3  configuration wrong       130, 143  stopped; the same command continues
  4  data wrong

\b
The result goes to stdout, everything else to stderr. No network is used.
"""
# UsageError: of click, or of the copy that newer versions of typer carry
_UsageFault = cast(type[Exception], typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="isnet",
    help="Chest X-ray classifiers that look at the lungs: masks, training, evaluation, heat maps.",
    epilog=EPILOG,
    rich_markup_mode=None,  # plain help: a sixth of the time, and the same on every terminal
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"isnet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


for _verb in (
    check.init,
    check.check,
    run.ingest,
    masks.masks,
    masks.masks_train,
    train_verb.train,
    evaluate.evaluate,
    predict.predict,
    heatmap.heatmap,
    run.merge,
    export.export,
    export.card,
    run.run,
    report.report,
    report.compare,
    runs.ls,
    runs.show,
    runs.diff,
    runs.clean,
    benchmark.benchmark,
    check.doctor,
    run.demo,
):
    app.command(_verb.__name__.replace("_", " "))(_verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code.

    Args:
        arguments: Words after ``isnet``; default: those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if " ".join(words[:2]) == masks.NAME:  # a folder of this name is ./train
        words[:2] = [masks.NAME]
    with sound_streams():
        try:
            return _run(words or ["--help"])
        except _UsageFault as fault:
            write_error(for_terminal(_usage_text(fault)))
            return EXIT_CODES["usage"]
        except (typer.Abort, KeyboardInterrupt):
            return EXIT_INTERRUPTED
        except OSError as error:  # from the help and the version: verbs explain their own
            if is_reader_gone(error):
                return 0
            lost = explain_lost_output(error)
            write_error(for_terminal(lost.render()))
            return lost.exit_code


def _run(words: list[str]) -> int:
    try:
        code = typer.main.get_command(app).main(
            args=words, prog_name="isnet", standalone_mode=False
        )
    except SystemExit as stop:  # how click ends when the reader of its output went away
        return 0 if isinstance(stop.__context__, BrokenPipeError) else int(stop.code or 0)
    if code:  # a failure that has been reported
        return int(code)
    sys.stdout.flush()
    return 0


def _usage_text(fault: BaseException) -> str:
    message = fault.format_message() if hasattr(fault, "format_message") else str(fault)
    context = getattr(fault, "ctx", None)
    name = context.command_path if context is not None else "isnet"
    return f"error[usage]: {message}\n  fix: {name} --help lists what there is"


if __name__ == "__main__":
    sys.exit(main())
