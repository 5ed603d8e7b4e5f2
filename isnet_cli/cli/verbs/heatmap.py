"""`isnet heatmap`: relevance maps of a trained model, on its own test images or on a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isnet_cli.cli.options import ModelRun, RunOptions, Shard, Target, with_options
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import configure_heatmaps, use_images_of_run
from isnet_cli.cli.source import Source, describe_words, make_options, require_run, resolve_source
from isnet_cli.errors import IsnetError

Explained = Annotated[
    str | None,
    typer.Option("--target", metavar="NAME", help="predicted, true, all or a class [predicted]."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Images per set [50].")
]

Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="own (of the training method), lrp, gradcam, grad_input, integrated_gradients or "
        "attention_rollout [own].",
    ),
]
Formats = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="LIST",
        help="Some of png,npz,nifti,dicom-sc,dicom-seg,dicom-sr,dicom-pm, with commas [png,npz].",
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        "--identity",
        metavar="WORD",
        help="remove, or keep: DICOM output belongs to the image's patient and study [remove].",
    ),
]

Check = Annotated[
    bool, typer.Option("--check", help="Also check the maps: shuffled weights, deletion.")
]


@with_options(RunOptions)
def heatmap(
    options: RunOptions,
    source: Target = None,
    model: ModelRun = None,
    target: Explained = None,
    limit: Limit = None,
    method: Method = None,
    formats: Formats = None,
    identity: Keep = None,
    check: Check = False,
    shard: Shard = None,
) -> int:
    """Draw where a trained model sees its evidence."""

    def body(session: Session) -> Result:
        found = _source(source, options.config, model)
        extra = make_options(
            [
                ("--target", "heatmap.target", target),
                ("--limit", "heatmap.limit", limit),
                ("--method", "heatmap.method", method),
                ("--format", "heatmap.formats", formats.split(",") if formats else None),
                ("--identity", "heatmap.identity", identity),
                ("--check", "heatmap.check", check or None),
            ]
        )
        if found.images is None:
            other = model if model != found.run else None
            extra += use_images_of_run(found, options.output, ["heatmap"])
            extra += make_options([("--model", "heatmap.model", other)])
        elif model is None:
            raise IsnetError(
                "usage",
                f"{describe_words(source)}: a folder of X-rays needs a trained model",
                fix=f"isnet heatmap {describe_words(source)} --model RUN",
            )
        else:
            found, base = configure_heatmaps(require_run(model, "--model"), found.images)
            extra = [*base, *extra]
        stages = ["ingest", "masks", "heatmap"]
        return run_stages(session, options, found, stages, extra, shard=shard)

    return execute("heatmap", options, body)


def _source(source: list[Path] | None, config: Path | None, model: Path | None) -> Source:
    """A run named by ``--model`` alone is explained on its own test images."""
    if not source and config is None and model is not None:
        source = [require_run(model, "--model")]
    return resolve_source(source, config)
