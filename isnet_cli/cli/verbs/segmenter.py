"""`isnet masks train`: train a lung U-Net on images with masks of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isnet_cli.cli.arguments import Device, Seed, StopAfter
from isnet_cli.cli.options import ScreenOptions, takes
from isnet_cli.cli.running import resume_line
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.source import option_list
from isnet_cli.errors import EXIT_SKIPPED

if TYPE_CHECKING:
    from isnet_cli.masks.segmenter.run import Outcome

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


@takes(ScreenOptions)
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
        settings = load_segmenter(config, set_ or [], option_list(typed))
        folder = output or Path("runs") / settings.name
        session.folder = folder if folder.is_dir() else None
        return _result(session, folder, run(settings, folder, session.context(), replace=overwrite))

    return execute(NAME, options, body)


def _result(session: Session, folder: Path, outcome: Outcome) -> Result:
    document: dict[str, Any] = {
        "folder": str(folder), "status": outcome.status, "skipped": outcome.skipped,
    }  # fmt: skip
    if outcome.status == "incomplete":
        session.console.say(f"stopped in good order; to continue:\n  {resume_line(folder)}")
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
