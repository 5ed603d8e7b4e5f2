"""`isnet export` and `isnet card`: a trained model, or the lung U-Net, and its card, for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isnet_cli.cli.options import ScreenOptions, with_options
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.errors import IsnetError

Exported = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        show_default=False,
        help="Run folder of the trained model, or a folder with its model.safetensors and "
        "model.json; with --lung-unet, weights of your own.",
    ),
]
Onnx = Annotated[Path | None, typer.Option("--onnx", metavar="FILE", help="ONNX file to write.")]
Heat = Annotated[
    str | None,
    typer.Option("--heatmap", metavar="METHOD", help="A map as a further output: gradcam."),
]
LungUnet = Annotated[
    bool, typer.Option("--lung-unet", help="The lung U-Net in place of a trained model.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file.")]


@with_options(ScreenOptions)
def export(
    options: ScreenOptions,
    run: Exported = None,
    onnx: Onnx = None,
    heatmap: Heat = None,
    lung_unet: LungUnet = False,
    overwrite: Overwrite = False,
) -> int:
    """Write a model with its preprocessing as ONNX."""

    def body(session: Session) -> Result:
        output = _check(run, onnx, heatmap, lung_unet=lung_unet, overwrite=overwrite)
        from isnet_cli.inference.onnx_model import require_onnx

        require_onnx("onnx", "onnxruntime", "onnxscript")
        from isnet_cli.export.write import export_classifier, export_lung_unet

        context = session.context()
        if lung_unet:
            done = export_lung_unet(str(run or "lung-unet"), output, context)
        else:
            place, ingest = _find_model(run or Path(), session)
            done = export_classifier(place, ingest, output, heatmap=bool(heatmap), context=context)
        found = done.describe()
        films = f"{done.films} {'synthetic films' if done.synthetic else 'films of the run'}"
        text = (
            f"{output}  {found['bytes'] / 1e6:.1f} MB, outputs {', '.join(done.outputs)}\n"
            f"  compared on {films}: largest difference {done.difference:.2g}"
        )
        return Result(found, text)

    return execute("export", options, body)


CardRun = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of the trained model.")]
Format = Annotated[
    str, typer.Option("--format", metavar="NAME", help="atlas, huggingface or claim.")
]
CardFile = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="File to write [-: stdout].")
]
Link = Annotated[
    str | None, typer.Option("--link", metavar="URL", help="Where the model is published: atlas.")
]
FORMATS = ("atlas", "huggingface", "claim")


@with_options(ScreenOptions)
def card(
    options: ScreenOptions,
    run: CardRun,
    format_: Format = "huggingface",
    output: CardFile = None,
    link: Link = None,
    overwrite: Overwrite = False,
) -> int:
    """Describe a trained model in a form that others ask for."""

    def body(session: Session) -> Result:
        if format_ not in FORMATS:
            expected = ", ".join(FORMATS)
            raise IsnetError("usage", f"--format {format_}: unknown, expected one of {expected}")
        if format_ == "atlas" and not (link or "").startswith(("https://", "http://")):
            raise IsnetError(
                "usage", "--format atlas: the schema wants the URL where the model is published",
                fix="--link https://...",
            )  # fmt: skip
        file = None if output is None or str(output) == "-" else output
        if file is not None and file.exists() and not overwrite:
            raise IsnetError("usage", f"{file}: there already", fix="--overwrite replaces it")
        text = _write_card(session, run, format_, link or "")
        if file is None:
            return Result({"format": format_, "card": text}, text.rstrip())
        from isnet_cli.core.files import write_text

        write_text(file, text)
        return Result({"format": format_, "file": str(file)}, str(file))

    return execute("card", options, body)


def _write_card(session: Session, run: Path, name: str, link: str) -> str:
    from isnet_cli.cards.atlas import write_atlas
    from isnet_cli.cards.claim import write_claim
    from isnet_cli.cards.facts import read_run_facts
    from isnet_cli.cards.huggingface import write_huggingface
    from isnet_cli.cli.source import require_run
    from isnet_cli.config.load import load
    from isnet_cli.core.pipeline import open_run
    from isnet_cli.text.forms import format_json

    path = require_run(run, "RUN")
    config = load(path / "isnet.yaml")
    session.hide_names(config)
    facts = read_run_facts(open_run(path, config), config.name)
    if name == "atlas":
        return format_json(write_atlas(facts, link), allow_nan=False) + "\n"
    return write_claim(facts) if name == "claim" else write_huggingface(facts)


def _check(
    run: Path | None, onnx: Path | None, heatmap: str | None, *, lung_unet: bool, overwrite: bool
) -> Path:
    """The file to write, when the words go together.

    Raises:
        IsnetError: Kind "usage".
    """
    if onnx is None:
        raise IsnetError("usage", "nothing to write", fix="isnet export RUN --onnx model.onnx")
    if onnx.suffix.lower() != ".onnx":
        raise IsnetError("usage", f"--onnx {onnx}: expected a name that ends with .onnx")
    if run is None and not lung_unet:
        raise IsnetError(
            "usage", "no model to export", fix=f"isnet export RUN --onnx {onnx}, or --lung-unet"
        )
    if heatmap not in (None, "gradcam"):
        raise IsnetError("usage", f"--heatmap {heatmap}: expected gradcam, which needs no gradient")
    if heatmap and lung_unet:
        raise IsnetError("usage", "--heatmap with --lung-unet: a U-Net has no such map")
    if onnx.exists() and not overwrite:
        raise IsnetError("usage", f"{onnx}: there already", fix="--overwrite replaces it")
    return onnx


def _find_model(run: Path, session: Session) -> tuple[Path, Path | None]:
    """Folder of the model's files, and that of the run's kept images, if it is a run."""
    from isnet_cli.cli.source import is_run
    from isnet_cli.inference.predictor import model_folder

    place = model_folder(str(run), None)
    if not is_run(run):
        return place, None
    from isnet_cli.config.load import load
    from isnet_cli.core.pipeline import open_run

    config = load(run / "isnet.yaml")
    session.hide_names(config)
    return place, open_run(run, config).stage_dir("ingest")
