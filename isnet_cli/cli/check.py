"""`isnet check`: the dry run of everything, from headers and tables alone."""

from __future__ import annotations

from typing import Annotated

import typer

from isnet_cli.cli.arguments import LabelFile, Target
from isnet_cli.cli.options import ConfigOptions, takes
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import film_options
from isnet_cli.cli.source import option_list, resolve
from isnet_cli.errors import EXIT_CODES

Schema = Annotated[
    bool, typer.Option("--schema", help="Print the JSON Schema of isnet.yaml, for editors.")
]
Resolved = Annotated[
    bool, typer.Option("--resolved", help="Print the configuration with all defaults as YAML.")
]


@takes(ConfigOptions)
def check(
    options: ConfigOptions,
    source: Target = None,
    labels: LabelFile = None,
    schema: Schema = False,
    resolved: Resolved = False,
) -> int:
    """Check settings, films, labels and sets; write nothing."""

    def body(session: Session) -> Result:
        from isnet_cli.config.load import dump, json_schema, load, plain

        if schema:
            session.console.document(json_schema())
            return Result()
        found = resolve(source, options.config)
        extra = [*film_options(found), *option_list([("--labels", "data.labels.file", labels)])]
        config = load(found.config, options.overrides, extra)
        if resolved:
            return Result({"config": plain(config)}, dump(config).rstrip())
        from isnet_cli.stages.audit import audit, audit_text

        facts = audit(config, session.ports())
        return Result(facts, audit_text(facts), 0 if facts["ok"] else EXIT_CODES["data"])

    return execute("check", options, body)
