"""`isnet ingest`: read X-rays into one normal form, join labels, deal out the sets."""

from __future__ import annotations

from isnet_cli.cli.arguments import LabelFile, Target
from isnet_cli.cli.options import RunOptions, takes
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import image_options
from isnet_cli.cli.source import option_list, resolve


@takes(RunOptions)
def ingest(options: RunOptions, source: Target = None, labels: LabelFile = None) -> int:
    """Read X-rays and labels into images and a manifest."""

    def body(session: Session) -> Result:
        found = resolve(source, options.config)
        extra = [*image_options(found), *option_list([("--labels", "data.labels.file", labels)])]
        return run_stages(session, options, found, ["ingest"], extra)

    return execute("ingest", options, body)
