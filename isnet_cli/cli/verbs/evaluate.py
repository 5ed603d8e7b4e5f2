"""`isnet evaluate`: scores on named test sets, own ones or those typed here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isnet_cli.cli.options import ModelRun, RunOptions, Target, with_options
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import configure_test_sets, use_images_of_run
from isnet_cli.cli.source import (
    STDIN,
    Source,
    describe_words,
    make_options,
    read_list,
    require_run,
    resolve_source,
)
from isnet_cli.errors import IsnetError

if TYPE_CHECKING:
    from isnet_cli.config.load import Option

STAGES = ("ingest", "masks", "evaluate")
Tests = Annotated[
    list[str] | None,
    typer.Option(
        "--test",
        metavar="NAME=PATH",
        help="Test set: a folder of X-rays, or - for a list on stdin.",
    ),
]
TestLabels = Annotated[
    list[str] | None,
    typer.Option("--labels", metavar="NAME=CSV", help="Labels of a test set. Repeatable."),
]
Drawn = Annotated[
    list[str] | None,
    typer.Option(
        "--annotations",
        metavar="[NAME=]PATH",
        help="Findings drawn into images of a set, or of all: boxes, COCO or masks. Repeatable.",
    ),
]


@with_options(RunOptions)
def evaluate(
    options: RunOptions,
    source: Target = None,
    model: ModelRun = None,
    test: Tests = None,
    labels: TestLabels = None,
    annotations: Drawn = None,
) -> int:
    """Score a trained model on named test sets."""

    def body(session: Session) -> Result:
        sets, tables = _pairs("--test", test), _pairs("--labels", labels)
        drawn = make_options([("--annotations", "evaluate.annotations", _drawn(annotations))])
        if sets:
            found, extra = _typed_sets(options, source, model, sets, tables)
            return run_stages(session, options, found, STAGES, [*extra, *drawn])
        if tables:
            raise IsnetError("usage", "--labels without --test NAME=PATH")
        found = _own_sets(source, model, options)
        extra = use_images_of_run(found, options.output, ["evaluate"])
        other = model if model != found.run else None
        extra += make_options([("--model", "evaluate.model", other)])
        return run_stages(session, options, found, STAGES, [*extra, *drawn])

    return execute("evaluate", options, body)


def _drawn(words: list[str] | None) -> str | dict[str, str] | None:
    """One path for all sets, or a path for each set that is named."""
    if not words or (len(words) == 1 and "=" not in words[0]):
        return words[0] if words else None
    return _pairs("--annotations", words)


def _own_sets(source: list[Path] | None, model: Path | None, options: RunOptions) -> Source:
    if not source and options.config is None and model is not None:
        source = [require_run(model, "--model")]
    found = resolve_source(source, options.config)
    if found.images is not None:
        raise IsnetError(
            "usage",
            f"{describe_words(source)}: a folder of X-rays needs a name as a test set and a model",
            fix=f"isnet evaluate --model RUN --test NAME={describe_words(source)}"
            " --labels NAME=CSV",
        )
    return found


def _typed_sets(
    options: RunOptions,
    source: list[Path] | None,
    model: Path | None,
    sets: dict[str, str],
    tables: dict[str, str],
) -> tuple[Source, list[Option]]:
    if model is None or source or options.config is not None:
        raise IsnetError(
            "usage",
            "--test names images for the model of a run",
            fix="isnet evaluate --model RUN --test NAME=PATH",
        )
    for name in tables.keys() - sets.keys():
        raise IsnetError("usage", f"--labels {name}=...: no --test {name}=PATH")
    images = {
        name: {"images": _list_images(path), **({"labels": tables[name]} if name in tables else {})}
        for name, path in sets.items()
    }
    return configure_test_sets(require_run(model, "--model"), images)


def _list_images(path: str) -> str | list[str]:
    return list(map(str, read_list())) if path == str(STDIN) else path


def _pairs(flag: str, words: list[str] | None) -> dict[str, str]:
    found = {}
    for word in words or []:
        name, sign, path = word.partition("=")
        if not sign or not name or not path:
            raise IsnetError("usage", f"{flag} {word}: expected NAME=PATH")
        found[name] = path
    return found
