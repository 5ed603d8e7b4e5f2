"""`isnet train`: train a classifier, after reading images and making masks where needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isnet_cli.cli.arguments import LabelFile, StopAfter, Target
from isnet_cli.cli.options import RunOptions, takes
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import image_options
from isnet_cli.cli.source import Source, option_list, resolve
from isnet_cli.cli.verbs.methods import methods_result
from isnet_cli.errors import IsnetError

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
    typer.Option("--heatmap-weight", metavar="P", help="Weight P of the heat-map loss [0.7]."),
]
ListMethods = Annotated[
    bool, typer.Option("--list-methods", help="List the methods and what each needs; no training.")
]


@takes(RunOptions)
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
        ("--heatmap-weight", "train.heatmap_loss.weight", heatmap_weight),
    ]

    def body(session: Session) -> Result:
        if list_methods:
            return methods_result()
        session.stop_after(stop_after)
        found = _source(source, images, options.config)
        stages = ["ingest", "masks", "train"]
        return run_stages(
            session, options, found, stages, [*image_options(found), *option_list(extra)]
        )

    return execute("train", options, body)


def _source(source: Path | None, images: Path | None, config: Path | None) -> Source:
    if images is None:
        return resolve(source, config)
    if source is None:
        typed = resolve(images, None)
        if typed.images is None:
            raise IsnetError("usage", f"--images {images}: expected a folder or list of X-rays")
        return Source(config, images=images)
    found = resolve(source, config)
    if found.images is not None:
        raise IsnetError("usage", f"two folders of X-rays: {source} and {images}, expected one")
    return Source(found.config, images=images)
