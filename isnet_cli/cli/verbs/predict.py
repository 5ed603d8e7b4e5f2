"""`isnet predict`: probabilities for images without labels, with uncertainty flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isnet_cli.cli.options import RunOptions, Shard, Target, with_options
from isnet_cli.cli.running import run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import configure_onnx, configure_prediction, use_images_of_run
from isnet_cli.cli.source import describe_words, make_options, require_run, resolve_source
from isnet_cli.core.names import is_onnx
from isnet_cli.errors import IsnetError

Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="RUN",
        help="Run folder of the trained model, or a folder with its model.safetensors and "
        "model.json, or an ONNX file of isnet export.",
    ),
]
Maps = Annotated[
    str | None,
    typer.Option(
        "--maps",
        metavar="LIST",
        help="Heat maps too: some of png,npz,nifti,dicom-sc,dicom-seg,dicom-sr,dicom-pm, with "
        "commas.",
    ),
]


@with_options(RunOptions)
def predict(
    options: RunOptions,
    source: Target = None,
    model: Model = None,
    maps: Maps = None,
    shard: Shard = None,
) -> int:
    """Predict images without labels, and flag uncertain ones."""

    def body(session: Session) -> Result:
        if model is not None and is_onnx(str(model)):
            return _predict_onnx(session, options, source, model, maps)
        unnamed = not source and options.config is None
        if unnamed and model is None:
            raise IsnetError(
                "usage", "no images to predict", fix="isnet predict IMAGES --model RUN"
            )
        run = [require_run(model, "--model")] if unnamed and model is not None else source
        found = resolve_source(run, options.config)
        formats = maps.split(",") if maps else None
        stages = ["ingest", "masks", "predict", *(["heatmap"] if formats else [])]
        if found.images is None:
            other = model if model != found.run else None
            pairs = [
                ("--model", "predict.model", other),
                ("--model", "heatmap.model", other if formats else None),
                ("--maps", "heatmap.formats", formats),
            ]
            users = [stage for stage in stages if stage in ("predict", "heatmap")]
            own_images = use_images_of_run(found, options.output, users)
            own = [*own_images, *make_options(pairs)]
            return run_stages(session, options, found, stages, own, shard=shard)
        if model is None:
            raise IsnetError(
                "usage",
                f"{describe_words(source)}: a folder of X-rays needs a trained model",
                fix=f"isnet predict {describe_words(source)} --model RUN",
            )
        found, extra, warning = configure_prediction(model, found.images, formats)
        if warning:
            session.console.warn("model", warning)
        return run_stages(session, options, found, stages, extra, shard=shard)

    return execute("predict", options, body)


def _predict_onnx(
    session: Session, options: RunOptions, source: list[Path] | None, model: Path, maps: str | None
) -> Result:
    """Predictions without torch: no masks, and no maps but by the file's own programs."""
    found = resolve_source(source, options.config)
    if maps is not None:
        raise IsnetError(
            "usage",
            f"--maps with {model}: maps are drawn from a run's own model",
            fix="isnet heatmap IMAGES --model RUN",
        )
    if found.images is None:
        raise IsnetError(
            "usage",
            f"{describe_words(source) or options.config}: expected a folder of X-rays for an ONNX"
            " model",
            fix=f"isnet predict IMAGES --model {model}",
        )
    source_of_settings, extra = configure_onnx(model, found.images)
    return run_stages(session, options, source_of_settings, ["ingest", "predict"], extra)
