"""`isnet check`: the dry run of everything: headers, tables, and a look at the images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isnet_cli.cli.arguments import LabelFile, Target
from isnet_cli.cli.options import ConfigOptions, takes
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import image_options
from isnet_cli.cli.source import Source, option_list, resolve
from isnet_cli.errors import EXIT_CODES

if TYPE_CHECKING:
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


@takes(ConfigOptions)
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
        from isnet_cli.config.load import dump, json_schema, load, plain

        if schema:
            session.console.document(json_schema())
            return Result()
        found = resolve(source, options.config)
        extra = [*image_options(found), *option_list([("--labels", "data.labels.file", labels)])]
        config = load(found.config, options.overrides, extra)
        if resolved:
            return Result({"config": plain(config)}, dump(config).rstrip())
        from isnet_cli.check.check import audit, audit_text

        facts = audit(config, session.context(), images=limit, run=_run_of(found, config))
        return Result(facts, audit_text(facts), 0 if facts["ok"] else EXIT_CODES["data"])

    return execute("check", options, body)


def _run_of(found: Source, config: Config) -> RunFolder | None:
    """The run whose images and masks are looked at: the one that was named, or the upstream one."""
    from isnet_cli.core.pipeline import open_run
    from isnet_cli.core.run_folder import RunFolder

    if found.run is not None:
        return open_run(found.run, config)
    return RunFolder(Path(config.upstream)) if config.upstream else None
