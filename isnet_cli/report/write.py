"""One self-contained HTML page on one run, or on several side by side, from their files alone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from isnet_cli.core.files import write_text
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RECORD, RunFolder, watch_runs
from isnet_cli.errors import IsnetError
from isnet_cli.guard.leftovers import clear_leftovers
from isnet_cli.guard.opening import open_regular
from isnet_cli.report.blocks import Picture
from isnet_cli.report.choose_images import choose_images, limit_images
from isnet_cli.report.page import build_page, replace_pictures
from isnet_cli.report.pictures import NOTE, ReportPictures, draw_mask_tiles, draw_run_maps
from isnet_cli.report.render import render
from isnet_cli.report.results import Cohort, RunResults, name_runs, read_cohort, read_run

PAGES = frozenset({".html", ".htm"})
MARK, HEAD = b'<meta name="generator" content="isnet">', 4096  # of every page; bytes it lies within
LARGE = 8_000_000  # bytes; mail servers and old browsers start to refuse
FEWER = (6, 3, 1, 0)  # images in each list of a page that would be too large
TILES_PER_IMAGE = 4  # masks shown for each of them


def build_report(folders: Sequence[RunFolder], output: Path, context: RunContext) -> Path:
    """Writes the report on `folders` to `output`; see `make_report`.

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
    content = make_report(folders, context)
    clear_leftovers(output.parent, deep=False)
    write_text(output, content)
    size = len(content.encode("utf-8"))
    if size >= LARGE:
        context.warn("report", f"{output}: {size / 1e6:.1f} MB, more than {LARGE / 1e6:g} MB")
    return output


def make_report(folders: Sequence[RunFolder], context: RunContext) -> str:
    """The report on `folders` as the text of one HTML page.

    The same files give the same page, byte for byte. A stage that is not finished becomes a
    section that says so. Runs that share images and masks (``upstream``) show them once.

    Args:
        folders: At least one run; their order is the order of columns and bars.
        context: Side effects.

    Raises:
        IsnetError: As `build_report`.
    """
    _check_folders(folders)
    names = name_runs(folders)
    context.say(f"report: {', '.join(names)}")
    with watch_runs(folders):
        return _build_content(folders, names)


def check_page(output: Path) -> None:
    """Makes sure that a page lands where nothing is, or on a page of this program.

    Raises:
        IsnetError: Kind "usage", when it is no HTML file or something else is in the way.
    """
    if output.suffix.lower() not in PAGES:
        raise IsnetError(
            "usage",
            f"-o {output}: expected the name of an HTML file",
            fix="-o NAME.html",
        )
    if not os.path.lexists(output):
        return
    try:
        with open_regular(output) as file:
            ours = MARK in file.read(HEAD)
    except OSError:  # a folder, a pipe, a link to nothing
        ours = False
    if not ours:
        raise IsnetError(
            "usage",
            f"{output}: exists and is no page of isnet",
            fix="-o FILE writes another one, or move this one aside",
        )


def _build_content(folders: Sequence[RunFolder], names: Sequence[str]) -> str:
    maps = draw_run_maps(folders)
    runs = [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    chosen = choose_images(runs, folders)
    cohorts, tiles = _read_cohorts(folders, names)
    pictures = ReportPictures(maps, chosen, tiles, NOTE if any(maps) else "")
    return _render_fitting(runs, cohorts, pictures)


def _render_fitting(
    runs: Sequence[RunResults], cohorts: Sequence[Cohort], pictures: ReportPictures
) -> str:
    """The page with as many images as keep it below `LARGE`; without any when nothing helps."""
    page = build_page(runs, cohorts, pictures)
    content = render(page)
    for most in FEWER:
        if len(content.encode("utf-8")) < LARGE:
            break
        fewer = limit_images(pictures, most, most * TILES_PER_IMAGE)
        note = f"{pictures.note} Fewer images than usual are shown, so that the page stays small."
        fewer = dataclasses.replace(fewer, note=note.strip())
        content = render(replace_pictures(page, runs, cohorts, fewer))
    return content


def _check_folders(folders: Sequence[RunFolder]) -> None:
    if not folders:
        raise IsnetError("usage", "report: no run folder, expected at least one")
    for folder in folders:
        if not (folder.path / RECORD).is_file():
            raise IsnetError(
                "data",
                f"{folder.path}: no {RECORD}, expected the folder of a run",
                fix="isnet report RUN, with the folder that isnet run CONFIG -o RUN has written",
            )


def _read_cohorts(
    folders: Sequence[RunFolder], names: Sequence[str]
) -> tuple[list[Cohort], list[list[Picture]]]:
    """Images and masks, and pictures of some masks, once for each folder that made them."""
    owners: dict[Path, tuple[RunFolder, list[str]]] = {}
    for folder, name in zip(folders, names, strict=True):
        owner = folder.owner("ingest")
        owners.setdefault(owner.path.resolve(), (owner, []))[1].append(name)
    cohorts, tiles = [], []
    for owner, users in owners.values():
        cohort = read_cohort(owner, owner.path.absolute().name, users)
        cohorts.append(cohort)
        tiles.append(draw_mask_tiles(owner, cohort.rows, cohort.qc))
    return cohorts, tiles
