"""`isnet check`, `isnet init` and `isnet doctor`: what lies there, and what this machine offers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isnet_cli.cli.options import ConfigOptions, LabelFile, ScreenOptions, Target, with_options
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import make_image_options
from isnet_cli.cli.source import (
    RECORD,
    STDIN,
    Source,
    make_options,
    make_run_name,
    resolve_source,
)
from isnet_cli.errors import EXIT_CODES, IsnetError
from isnet_cli.text.tables import shorten

if TYPE_CHECKING:
    from isnet_cli.check.collections.configure import Configured
    from isnet_cli.check.collections.films import Collection
    from isnet_cli.check.survey import Survey
    from isnet_cli.config.load import Option
    from isnet_cli.config.schema import Config
    from isnet_cli.core.run_folder import RunFolder

Schema = Annotated[
    bool, typer.Option("--schema", help="Print the JSON Schema of isnet.yaml, for editors.")
]
Resolved = Annotated[
    bool, typer.Option("--resolved", help="Print the configuration with all defaults as YAML.")
]
Limit = Annotated[
    int,
    typer.Option(
        "--limit",
        metavar="N",
        min=0,
        help="Images to look at for near-duplicates and probes; 0: headers and tables alone.",
    ),
]
LOOKS = 2000
SHOWN = 8  # classes that are named


@with_options(ConfigOptions)
def check(
    options: ConfigOptions,
    source: Target = None,
    labels: LabelFile = None,
    schema: Schema = False,
    resolved: Resolved = False,
    limit: Limit = LOOKS,
) -> int:
    """Check settings, images, labels and sets; write nothing."""

    def body(session: Session) -> Result:
        from isnet_cli.config.load import dump, json_schema, plain

        if schema:
            session.console.document(json_schema())
            return Result()
        found = resolve_source(source, options.config)
        extra = [
            *make_image_options(found),
            *make_options([("--labels", "data.labels.file", labels)]),
        ]
        config = _load(found.config, options.overrides, extra)
        if resolved:
            return Result({"config": plain(config)}, dump(config).rstrip())
        from isnet_cli.check.inputs import check_inputs, describe_check

        session.hide_names(config)
        facts = check_inputs(config, session.context(), images=limit, run=_run_of(found, config))
        return Result(facts, describe_check(facts), 0 if facts["ok"] else EXIT_CODES["data"])

    return execute("check", options, body)


def _load(path: Path | None, overrides: Sequence[str], extra: Sequence[Option]) -> Config:
    """The configuration; of a benchmark, whose cells all are loaded, that of its first cell."""
    from isnet_cli.config.benchmark import is_benchmark, load_benchmark
    from isnet_cli.config.load import load

    if path is None or not is_benchmark(path):
        return load(path, overrides, extra)
    from isnet_cli.benchmark.cells import make_grid

    if extra:
        raise IsnetError("usage", f"{path}: a benchmark, which names its images itself")
    bench = load_benchmark(path, overrides)
    return make_grid(bench, path, Path("runs") / bench.name).cells[0].config


def _run_of(found: Source, config: Config) -> RunFolder | None:
    """The run whose images and masks are looked at: the one that was named, or the upstream one."""
    from isnet_cli.core.pipeline import open_run
    from isnet_cli.core.run_folder import RunFolder

    if found.run is not None:
        return open_run(found.run, config)
    return RunFolder(Path(config.upstream)) if config.upstream else None


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of X-rays, labels beside or inside.")
]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FILE", help="The YAML file to write; - for stdout."),
]


Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Public collection that the folder holds; none: look at the files alone.",
    ),
]


@with_options(ScreenOptions)
def init(
    options: ScreenOptions,
    folder: Folder = Path(),
    labels: LabelFile = None,
    dataset: Dataset = None,
    output: Output = Path("isnet.yaml"),
) -> int:
    """Write a commented isnet.yaml for a folder of X-rays."""

    def body(session: Session) -> Result:
        from isnet_cli.check.survey import survey_folder
        from isnet_cli.core.files import write_text
        from isnet_cli.guard.leftovers import clear_leftovers

        if output != STDIN and output.exists():
            raise IsnetError(
                "usage", f"{output}: exists and is kept", fix="-o another FILE, or remove it"
            )
        if not folder.is_dir():
            raise IsnetError("data", f"{folder}: no such folder, expected X-rays")
        collection = _find_collection(folder, labels, dataset)
        if collection is not None:
            if output == STDIN:
                raise IsnetError(
                    "usage",
                    f"-o -: {collection.title} takes a table beside the YAML",
                    fix="-o FILE",
                )
            from isnet_cli.check.collections.configure import configure_collection

            done = configure_collection(collection, folder, output, make_run_name(folder))
            return Result(done.describe(), "\n".join(_collection_lines(done)))
        found = survey_folder(folder, labels)
        text = make_template(found, folder, output)
        if output == STDIN:
            return Result({**_document(found, output), "text": text}, text.rstrip())
        clear_leftovers(output.parent, deep=False)
        write_text(output, text)
        for note in found.notes:
            session.console.warn("data", note)
        return Result(_document(found, output), "\n".join(_lines(found, output)))

    return execute("init", options, body)


def _find_collection(folder: Path, labels: Path | None, name: str | None) -> Collection | None:
    """The public collection in a folder: as named, else recognised; None with ``none``."""
    from isnet_cli.check.collections.registry import find, recognise

    if name is not None and labels is not None:
        raise IsnetError("usage", "--dataset and --labels: expected one of them")
    if labels is not None or name == "none":
        return None
    return recognise(folder) if name is None else find(name)


def _collection_lines(done: Configured) -> list[str]:
    sets = ", ".join(f"{name} {count}" for name, count in done.sets.items())
    shown = ", ".join(map(shorten, done.labels[:SHOWN]))
    more = f" and {len(done.labels) - SHOWN} more" if len(done.labels) > SHOWN else ""
    return [
        str(done.config),
        f"  dataset   {done.title}: {done.films} rows in {done.table}",
        f"  labels    {shown}{more}; {done.task}",
        f"  sets      {sets or 'no official ones: split by patient'}",
        f"  patients  {done.patients or 'unknown'}",
        *(f"  note      {note}" for note in done.notes),
        f"  next      isnet check {done.config}",
    ]


def make_template(found: Survey, folder: Path, output: Path) -> str:
    """The configuration for what was found in a folder, as the text of a file `output`."""
    from isnet_cli.config.template import template

    def relative_to_output(path: Path | None) -> str | None:
        if path is None:
            return None
        near = os.path.relpath(path, os.path.abspath(output.parent))
        return os.path.abspath(path) if near.startswith("..") else f"./{near}"

    return template(
        name=make_run_name(folder),
        images=relative_to_output(found.images) or ".",
        file=RECORD if output == STDIN else output.name,
        count=found.count,
        labels=relative_to_output(found.labels),
        matched=found.matched,
        task=found.task,
        columns=found.columns,
        why=found.why,
        repeated=found.repeated,
        patient=found.patient,
        classes=found.classes,
        sources=found.sources,
        masks=relative_to_output(found.masks),
        masked=found.masked,
    )


def _document(found: Survey, output: Path) -> dict[str, object]:
    facts = {k: str(v) if isinstance(v, Path) else v for k, v in vars(found).items()}
    return {"config": str(output), "found": facts}


def _repeats(found: Survey) -> bool:
    return found.repeated != "refuse"


def _lines(found: Survey, output: Path) -> list[str]:
    labels = f"{found.matched} images with a label" if found.matched else "no labels found"
    masks = (
        f"{found.masked} images with a mask" if found.masks else "no masks, the U-Net makes them"
    )
    kinds = ", ".join(found.formats)
    return [
        str(output),
        f"  images    {found.count} files ({kinds})",
        f"  labels    {labels}{_list_classes(found)}",
        *([f"            {found.why}; {found.task}"] if found.why else []),
        *([f"            several rows per image: {found.repeated} counts"] * _repeats(found)),
        *([f"  patients  by their folders, {found.patient}"] if found.patient else []),
        f"  masks     {masks}",
        f"  next      isnet check {output}",
    ]


def _list_classes(found: Survey) -> str:
    shown = ", ".join(map(shorten, found.classes[:SHOWN]))
    more = f" and {len(found.classes) - SHOWN} more" if len(found.classes) > SHOWN else ""
    return f": {shown}{more}" if shown else ""


@with_options(ScreenOptions)
def doctor(options: ScreenOptions) -> int:
    """Show versions, devices, codecs and weights."""

    def body(session: Session) -> Result:
        from isnet_cli.check.doctor import examine_machine

        facts = examine_machine()
        lines = [f"{name:<9} {line}" for name, line in facts.lines()]
        lines += [f"problem   {text}" for text in facts.problems]
        return Result(facts.document(), "\n".join(lines), 6 if facts.problems else 0)

    return execute("doctor", options, body)
