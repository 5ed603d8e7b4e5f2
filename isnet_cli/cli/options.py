"""Arguments and options that several verbs share, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

Target = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="Configuration (YAML), folder of X-rays, file, list, or run folder [isnet.yaml]; "
        "several files, or - for a list of them on stdin.",
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
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do every N-th part of the images, from the I-th; isnet merge puts them together.",
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


Options = TypeVar("Options", bound="ScreenOptions")


@dataclass(frozen=True)
class ScreenOptions:
    """What is printed, and how."""

    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document on stdout, nothing else there."),
    ] = False
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print warnings, errors and the result only.")
    ] = False
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            help="Print more; -vv adds tracebacks.",
        ),
    ] = 0
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="No bars and no progress lines.")
    ] = False


@dataclass(frozen=True)
class ConfigOptions(ScreenOptions):
    """Where the configuration comes from."""

    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="Configuration (YAML).")
    ] = None
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one key: --set train.epochs=30. Repeatable."
        ),
    ] = None

    @property
    def overrides(self) -> list[str]:
        """The ``--set`` pairs."""
        return self.set_ or []


@dataclass(frozen=True)
class RunOptions(ConfigOptions):
    """How and where a run is made."""

    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Run folder [runs/NAME-DATE]."),
    ] = None
    device: Device = None
    workers: Annotated[
        int | None,
        typer.Option("-j", "--workers", metavar="N", min=0, help="Worker processes."),
    ] = None
    seed: Seed = None
    deterministic: Annotated[
        bool | None,
        typer.Option(
            "--deterministic/--no-deterministic",
            show_default=False,
            help="Same input, same result, bit for bit [on].",
        ),
    ] = None
    restart: Annotated[
        bool,
        typer.Option(
            "--restart/--resume",
            show_default=False,
            help="Move the old run folder aside and start again; or continue it [resume].",
        ),
    ] = False
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace results of other settings or inputs."),
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="A skipped input is an error and ends the run.")
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done; write nothing.")
    ] = False


def with_options(kind: type[Options]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Decorator: adds the options of `kind` to a verb, which gets them as its first argument."""
    hints = get_type_hints(kind, include_extras=True)
    shared = [
        inspect.Parameter(
            entry.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=entry.default,
            annotation=hints[entry.name],
        )
        for entry in fields(kind)
    ]

    def decorate(verb: Callable[..., int]) -> Callable[..., int]:
        own_hints = get_type_hints(verb, include_extras=True)
        own = [
            parameter.replace(annotation=own_hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in list(inspect.signature(verb).parameters.items())[1:]
        ]

        def command(**values: Any) -> int:
            options = kind(**{entry.name: values.pop(entry.name) for entry in fields(kind)})
            return verb(options, **values)

        parameters = [*own, *shared]
        command.__name__ = verb.__name__
        command.__doc__ = verb.__doc__
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate
