"""`isnet init`: a commented isnet.yaml, filled with what lies in a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isnet_cli.cli.arguments import LabelFile
from isnet_cli.cli.options import ScreenOptions, takes
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.source import name_of
from isnet_cli.errors import IsnetError

if TYPE_CHECKING:
    from isnet_cli.check.survey import Survey

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of X-rays, labels beside or inside.")
]
Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE", help="The YAML file to write.")
]


@takes(ScreenOptions)
def init(
    options: ScreenOptions,
    folder: Folder = Path(),
    labels: LabelFile = None,
    output: Output = Path("isnet.yaml"),
) -> int:
    """Write a commented isnet.yaml for a folder of X-rays."""

    def body(session: Session) -> Result:
        from isnet_cli.check.survey import survey

        if output.exists():
            raise IsnetError(
                "usage", f"{output}: exists and is kept", fix="-o another FILE, or remove it"
            )
        if not folder.is_dir():
            raise IsnetError("data", f"{folder}: no such folder, expected X-rays")
        found = survey(folder, labels)
        text = _template(found, folder, output)
        _write(text, output)
        for note in found.notes:
            session.console.warn("data", note)
        return Result(_document(found, output), "\n".join(_lines(found, output)))

    return execute("init", options, body)


def _template(found: Survey, folder: Path, output: Path) -> str:
    from isnet_cli.config.template import template

    def seen(path: Path | None) -> str | None:
        if path is None:
            return None
        near = os.path.relpath(path, os.path.abspath(output.parent))
        return os.path.abspath(path) if near.startswith("..") else f"./{near}"

    return template(
        name=name_of(folder),
        images=seen(found.images) or ".",
        file=output.name,
        count=found.count,
        labels=seen(found.labels),
        matched=found.matched,
        task=found.task,
        columns=found.columns,
        classes=found.classes,
        sources=found.sources,
        masks=seen(found.masks),
        masked=found.masked,
    )


def _write(text: str, output: Path) -> None:
    from isnet_cli.core.files import write_text

    write_text(output, text)


def _document(found: Survey, output: Path) -> dict[str, object]:
    facts = {k: str(v) if isinstance(v, Path) else v for k, v in vars(found).items()}
    return {"config": str(output), "found": facts}


def _lines(found: Survey, output: Path) -> list[str]:
    labels = f"{found.matched} images with a label" if found.matched else "no labels found"
    masks = (
        f"{found.masked} images with a mask" if found.masks else "no masks, the U-Net makes them"
    )
    kinds = ", ".join(found.formats)
    return [
        str(output),
        f"  images    {found.images} files ({kinds})",
        f"  labels   {labels}{': ' + ', '.join(found.classes) if found.classes else ''}",
        f"  masks    {masks}",
        f"  next     isnet check {output}",
    ]
