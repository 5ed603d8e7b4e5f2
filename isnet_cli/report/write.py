"""One self-contained HTML page on one run, or on several side by side, from their files alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from isnet_cli.core.files import write_text
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RECORD, RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.choose_images import add_images, limited
from isnet_cli.report.facts import Cohort, RunFacts
from isnet_cli.report.pictures import NOTE, mask_tiles, run_maps
from isnet_cli.report.read_run import read_cohort, read_run, run_names
from isnet_cli.report.render import render
from isnet_cli.report.sections.page import page

LARGE = 8_000_000  # bytes; mail servers and old browsers start to refuse
FEWER = (6, 3, 1, 0)  # images in each list of a page that would be too large
TILES_PER_IMAGE = 4  # masks shown for each of them


def build_report(folders: Sequence[RunFolder], output: Path, context: RunContext) -> Path:
    """Writes the report on `folders` to `output`.

    The same files give the same page, byte for byte. A stage that is not finished becomes a
    section that says so. Runs that share images and masks (``upstream``) show them once.

    Args:
        folders: At least one run; their order is the order of columns and bars.
        output: The HTML file; replaced when it exists.
        context: Side effects.

    Returns:
        `output`.

    Raises:
        IsnetError: Kind "data", when a folder holds no run or a file of a finished stage is
            damaged.
    """
    _check(folders)
    names = run_names(folders)
    context.say(f"report: {', '.join(names)}")
    maps = run_maps(folders)
    runs = [read_run(f, n, m) for f, n, m in zip(folders, names, maps, strict=True)]
    runs = add_images(runs, folders)
    content = _fitting(runs, _cohorts(folders, names), NOTE if any(maps) else "")
    write_text(output, content)
    size = len(content.encode("utf-8"))
    if size >= LARGE:
        context.warn("report", f"{output}: {size / 1e6:.1f} MB, more than {LARGE / 1e6:g} MB")
    return output


def _fitting(runs: Sequence[RunFacts], cohorts: Sequence[Cohort], note: str) -> str:
    """The page with as many images as keep it below `LARGE`; without any when nothing helps."""
    content = render(page(runs, cohorts, note))
    for most in FEWER:
        if len(content.encode("utf-8")) < LARGE:
            break
        fewer = [
            dataclasses.replace(c, tiles=list(c.tiles)[: most * TILES_PER_IMAGE]) for c in cohorts
        ]
        words = f"{note} Fewer images than usual are shown, so that the page stays small."
        content = render(page([limited(run, most) for run in runs], fewer, words.strip()))
    return content


def _check(folders: Sequence[RunFolder]) -> None:
    if not folders:
        raise IsnetError("usage", "report: no run folder, expected at least one")
    for folder in folders:
        if not (folder.path / RECORD).is_file():
            raise IsnetError(
                "data",
                f"{folder.path}: no {RECORD}, expected the folder of a run",
                fix="isnet report RUN, with the folder that isnet run CONFIG -o RUN has written",
            )


def _cohorts(folders: Sequence[RunFolder], names: Sequence[str]) -> list[Cohort]:
    """Images and masks, once for each folder that made them."""
    owners: dict[Path, tuple[RunFolder, list[str]]] = {}
    for folder, name in zip(folders, names, strict=True):
        owner = folder.owner("ingest")
        owners.setdefault(owner.path.resolve(), (owner, []))[1].append(name)
    cohorts = []
    for owner, users in owners.values():
        cohort = read_cohort(owner, owner.path.absolute().name, users)
        tiles = mask_tiles(owner, cohort.rows, cohort.qc)
        cohorts.append(dataclasses.replace(cohort, tiles=tiles))
    return cohorts
