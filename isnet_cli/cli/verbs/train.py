"""`isnet train`: train a classifier, or list the training methods."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from isnet_cli.cli.options import LabelFile, RunOptions, StopAfter, Target, with_options
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import make_image_options
from isnet_cli.cli.source import Source, describe_words, make_options, resolve_source
from isnet_cli.errors import IsnetError
from isnet_models.methods import registry

Images = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="X-rays, instead of SOURCE.")
]
MaskFiles = Annotated[
    Path | None, typer.Option("--masks", metavar="DIR", help="Folder of given lung masks.")
]
Arch = Annotated[str | None, typer.Option("--arch", metavar="NAME", help="Network [densenet121].")]
Method = Annotated[str | None, typer.Option("--method", metavar="NAME", help="Method [isnet].")]
Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Epochs [60].")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", metavar="N", help="Images [16].")]
Rate = Annotated[float | None, typer.Option("--lr", metavar="X", help="Learning rate [0.01].")]
Weight = Annotated[
    float | None,
    typer.Option(
        "--heatmap-weight", metavar="P", help="Weight of the ISNet's heat-map loss [0.7]."
    ),
]
ListMethods = Annotated[
    bool, typer.Option("--list-methods", help="List the methods and what each needs; no training.")
]


@with_options(RunOptions)
def train(
    options: RunOptions,
    source: Target = None,
    images: Images = None,
    labels: LabelFile = None,
    masks: MaskFiles = None,
    arch: Arch = None,
    method: Method = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    heatmap_weight: Weight = None,
    list_methods: ListMethods = False,
    stop_after: StopAfter = None,
) -> int:
    """Train a classifier that looks at the lungs."""
    extra = [
        ("--labels", "data.labels.file", labels),
        ("--masks", "masks.files", masks),
        ("--arch", "model.arch", arch),
        ("--method", "train.method", method),
        ("--epochs", "train.epochs", epochs),
        ("--batch-size", "train.batch_size", batch_size),
        ("--lr", "train.optimizer.lr", lr),
        ("--heatmap-weight", "train.settings.isnet.heatmap_weight", heatmap_weight),
    ]

    def body(session: Session) -> Result:
        if list_methods:
            return list_training_methods()
        session.stop_after(stop_after)
        found = _source(source, images, options.config)
        stages = ["ingest", "masks", "train"]
        return run_stages(
            session, options, found, stages, [*make_image_options(found), *make_options(extra)]
        )

    return execute("train", options, body)


def _source(source: list[Path] | None, images: Path | None, config: Path | None) -> Source:
    if images is None:
        return resolve_source(source, config)
    if not source:
        typed = resolve_source(images, None)
        if typed.images is None:
            raise IsnetError("usage", f"--images {images}: expected a folder or list of X-rays")
        return Source(config, images=images)
    found = resolve_source(source, config)
    if found.images is not None:
        raise IsnetError(
            "usage", f"two folders of X-rays: {describe_words(source)} and {images}, expected one"
        )
    return Source(found.config, images=images)


WIDTH = 100  # of a line
TIED = "\N{NO-BREAK SPACE}"


def list_training_methods() -> Result:
    """All methods and additions, for `isnet train --list-methods`."""
    found = [_described(entry) for entry in registry.ENTRIES]
    width = max(len(one["name"]) for one in found)
    lines = []
    for addition, title in ((False, "methods"), (True, "additions: METHOD+ADDITION")):
        chosen = [one for one in found if one["addition"] == addition]
        if chosen:
            lines += [title, *(line for one in chosen for line in _lines(one, width))]
    lines += ["", "settings go under train.settings.NAME"]
    return Result({"methods": found}, "\n".join(lines))


def _described(entry: registry.Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "addition": entry.addition,
        "summary": entry.summary,
        "source": entry.source,
        "needs": [registry.NEEDS[need] for need in entry.needs],
        "explains": entry.explains,
        "own_network": entry.own_network,
        "settings": entry.settings_class()().model_dump(mode="json"),
    }


def _lines(one: dict[str, Any], width: int) -> list[str]:
    lines = [f"  {one['name']:<{width}}  {one['summary']}"]
    blank = " " * (width + 4)
    if one["source"]:
        lines += _wrapped(f"source: {one['source']}", blank)
    if one["needs"]:
        lines += _wrapped(f"needs: {'; '.join(one['needs'])}", blank)
    if one["own_network"]:
        lines.append(f"{blank}has a network of its own: model.arch is not used")
    if one["settings"]:
        pairs = [f"{name}: {json.dumps(value)}" for name, value in one["settings"].items()]
        whole = [pair.replace(" ", TIED) for pair in pairs]  # no line ends inside a setting
        lines += [
            line.replace(TIED, " ") for line in _wrapped(f"settings: {', '.join(whole)}", blank)
        ]
    return lines


def _wrapped(text: str, blank: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=blank, subsequent_indent=f"{blank}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
