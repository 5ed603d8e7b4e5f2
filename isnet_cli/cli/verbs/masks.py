"""`isnet masks` and `isnet masks train`: lung masks, and a lung U-Net of one's own."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isnet_cli.cli.options import (
    Device,
    RunOptions,
    ScreenOptions,
    Seed,
    Shard,
    StopAfter,
    Target,
    with_options,
)
from isnet_cli.cli.running import format_resume_command, run_stages
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.shortforms import make_image_options
from isnet_cli.cli.source import make_options, resolve_source
from isnet_cli.cli.terminal.summaries import format_agreement
from isnet_cli.errors import EXIT_SKIPPED, IsnetError

if TYPE_CHECKING:
    from isnet_cli.config.load import Option
    from isnet_cli.masks.segmenter.run import Outcome

Labels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="CSV", help="Table that names hospitals, views or masks."),
]
Files = Annotated[
    Path | None,
    typer.Option("--files", metavar="DIR", help="Folder of given masks instead of the U-Net."),
]
Network = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="A shipped network or a .safetensors file."),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", metavar="P", help="Lung where the U-Net says at least P [0.5]."),
]
Keep = Annotated[int | None, typer.Option("--keep", metavar="N", help="Largest parts to keep [2].")]
Dilate = Annotated[
    str | None,
    typer.Option("--dilate", metavar="WIDTH", help="Widen masks: 2% (of the image), 3mm or 5px."),
]
Flip = Annotated[
    bool | None,
    typer.Option(
        "--flip/--no-flip",
        show_default=False,
        help="Average over the image and its mirror image [off].",
    ),
]
Formats = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="LIST", help="Some of png,nifti,dicom-seg, with commas [png]."
    ),
]
Identity = Annotated[
    str | None,
    typer.Option(
        "--identity",
        metavar="WORD",
        help="remove, or keep: DICOM output belongs to the image's patient and study [remove].",
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option("--truth", metavar="DIR", help="Compare the masks with those of this folder."),
]
FailAbove = Annotated[
    float,
    typer.Option(
        "--qc-fail-above",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="Exit code 7 when a greater share of images has no sound mask.",
    ),
]


@with_options(RunOptions)
def masks(
    options: RunOptions,
    source: Target = None,
    labels: Labels = None,
    files: Files = None,
    model: Network = None,
    threshold: Threshold = None,
    keep: Keep = None,
    dilate: Dilate = None,
    flip: Flip = None,
    formats: Formats = None,
    identity: Identity = None,
    truth: Truth = None,
    qc_fail_above: FailAbove = 0.05,
    shard: Shard = None,
) -> int:
    """Make lung masks of X-rays, with a quality table."""

    def body(session: Session) -> Result:
        found = resolve_source(source, options.config)
        extra = make_options(
            [
                ("--labels", "data.labels.file", labels),
                ("--files", "masks.files", files),
                ("--model", "masks.model", model),
                ("--threshold", "masks.threshold", threshold),
                ("--keep", "masks.postprocess.keep", keep),
                ("--flip", "masks.flip", flip),
                ("--format", "masks.formats", formats.split(",") if formats else None),
                ("--identity", "masks.identity", identity),
            ]
        )
        if truth is not None and not truth.is_dir():
            raise IsnetError("data", f"--truth {truth}: no such folder, expected lung masks")
        result = run_stages(
            session,
            options,
            found,
            ["ingest", "masks"],
            [*make_image_options(found), *extra, *_dilation(dilate)],
            more=[] if truth is None else [truth],
            shard=shard,
        )
        if shard is not None:
            return result
        if truth is not None and result.document["status"] == "done":
            result = _compared(session, result, truth)
        return _judged(session, result, qc_fail_above)

    return execute("masks", options, body)


def _dilation(text: str | None) -> list[Option]:
    """`--dilate` as a key of the configuration.

    Raises:
        IsnetError: Kind "usage", when `text` is no width.
    """
    if text is None:
        return []
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%|mm|px)", text.strip())
    if found is None:
        raise IsnetError("usage", f"--dilate {text}: expected a width as 2%, 3mm or 5px")
    name = {"%": "percent", "mm": "mm", "px": "px"}[found[2]]
    others = {"percent", "mm", "px"} - {name}
    values = {name: float(found[1]), **dict.fromkeys(sorted(others), 0.0)}
    return make_options(
        [("--dilate", f"masks.postprocess.dilate_{k}", v) for k, v in values.items()]
    )


def _compared(session: Session, result: Result, truth: Path) -> Result:
    """The result with the comparison to given masks."""
    from isnet_cli.core.run_folder import RunFolder
    from isnet_cli.masks.agreement import score_masks

    folder = RunFolder(Path(result.document["run"]))
    with folder.lock():
        summary = score_masks(folder, truth, session.context())
    lines = "\n".join(f"  {line}" for line in format_agreement(summary))
    return Result({**result.document, "truth": summary}, f"{result.text}\n\n{lines}\n", result.code)


def _judged(session: Session, result: Result, limit: float) -> Result:
    """Exit code 7 when more than `limit` of the images have no sound mask."""
    stages: list[dict[str, Any]] = result.document.get("stages", [])
    found = [stage["summary"] for stage in stages if stage["stage"] == "masks"]
    figures: dict[str, Any] = found[0] if found else {}
    images = int(figures.get("images", 0))
    if result.document["status"] != "done" or not images:
        return result
    doubtful = int(figures["suspect"]) + int(figures["missing"])
    if doubtful <= limit * images:
        return result
    session.console.say(
        f"{doubtful} of {images} images ({doubtful / images:.0%}) have no sound mask, more than"
        f" --qc-fail-above {limit:g}: see {Path(result.document['run']) / 'masks'}"
    )
    return dataclasses.replace(result, code=result.code or EXIT_SKIPPED)


NAME = "masks train"  # two words, as they are typed

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration (YAML).")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key. Repeatable."),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", help="Its folder [runs/NAME].")
]
Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Epochs [60].")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a training of other settings or images.")
]


@with_options(ScreenOptions)
def masks_train(
    options: ScreenOptions,
    config: Config,
    set_: Changes = None,
    output: Output = None,
    device: Device = None,
    epochs: Epochs = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    stop_after: StopAfter = None,
) -> int:
    """Train a lung U-Net on images with masks."""

    def body(session: Session) -> Result:
        from isnet_cli.config.segmenter import load_segmenter
        from isnet_cli.masks.segmenter.run import run

        session.stop_after(stop_after)
        typed = [
            ("--device", "machine.device", device),
            ("--epochs", "train.epochs", epochs),
            ("--seed", "seed", seed),
        ]
        settings = load_segmenter(config, set_ or [], make_options(typed))
        folder = output or Path("runs") / settings.name
        session.folder = folder if folder.is_dir() else None
        return _training_result(
            session, folder, run(settings, folder, session.context(), replace=overwrite)
        )

    return execute(NAME, options, body)


def _training_result(session: Session, folder: Path, outcome: Outcome) -> Result:
    document: dict[str, Any] = {
        "folder": str(folder), "status": outcome.status, "skipped": outcome.skipped,
    }  # fmt: skip
    if outcome.status == "incomplete":
        session.console.say(
            "stopped in good order; to continue:", f"  {format_resume_command(folder)}"
        )
        return Result(document, str(folder), session.stop_code)
    document |= {"weights": str(outcome.weights), **outcome.summary}
    lines = [str(outcome.weights)]
    for name, row in outcome.summary["figures"].items():
        lines.append(
            f"  {name:<24} {row['images']:>5} held-out images   Dice {row['dice_mean']:.3f}"
            f"   5th percentile {row['dice_p5']:.3f}   lowest {row['dice_min']:.3f}"
        )
    lines.append(f"  use it    masks.model: {outcome.weights}")
    return Result(document, "\n".join(lines), EXIT_SKIPPED if outcome.skipped else 0)
