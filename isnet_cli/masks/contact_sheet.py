"""Contact sheets of a run's lung masks: all of them, those most in need of a look first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.core.run_folder import RunFolder
from isnet_cli.images.kept import load_image
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.resize import resize_mask
from isnet_cli.images.types import Row
from isnet_cli.output.images import SheetStyle, contact_sheet, image_tile, png_bytes
from isnet_cli.output.overlays import RGB

SHEET = "contact_sheet.png"  # the first page
TILES = 96  # images on a page: a screen that one can look over in some seconds
COLUMNS = 12
CELL = 144  # side of one picture, px
PAGES = 40  # at most: 3,840 images, worst first; the rest are sound and alike
_RANK = {"suspect": 0, "missing": 1, "ok": 2}


def page_name(number: int) -> str:
    """Name of a page, from 0: ``contact_sheet.png``, ``contact_sheet_02.png`` and so on."""
    return SHEET if number == 0 else f"contact_sheet_{number + 1:02d}.png"


def pages(lines: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Lines of ``qc.csv``, the worst first, `TILES` a page, at most `PAGES` pages."""
    ordered = sorted(lines, key=rank_by_verdict)
    return [ordered[i : i + TILES] for i in range(0, len(ordered), TILES)][:PAGES]


def contact_sheet_png(
    chosen: Sequence[Mapping[str, Any]], tiles: Sequence[RGB], heading: Sequence[str] = ()
) -> bytes:
    """PNG of one page.

    Args:
        chosen: Lines of ``qc.csv``, at least one.
        tiles: The picture of each, by `tile`.
        heading: Lines above the pictures.
    """
    captions = [_caption(line) for line in chosen]
    style = SheetStyle(CELL, 11, 2)
    return png_bytes(contact_sheet(tiles, captions, COLUMNS, style=style, heading=heading))


def tile(line: Mapping[str, Any], row: Row, folder: RunFolder) -> RGB:
    """Picture of an image with its mask's outline [h, w, 3], `CELL` px at its longest side.

    Args:
        line: Of ``qc.csv``; an image whose mask is missing is shown without an outline.
        row: Of the manifest.
        folder: The run.
    """
    image = load_image(folder.stage_dir("ingest") / row.image_file)
    mask = None
    if line["verdict"] != "missing":
        whole = load_mask(folder.stage_dir("masks") / f"{line['key']}.png")
        mask = resize_mask(whole, (image.shape[0], image.shape[1]))
    return image_tile(image, mask, side=CELL)


def _caption(line: Mapping[str, Any]) -> str:
    """Name, then the verdict with its codes, or how sure the network is."""
    codes = ", ".join(part.partition(":")[0] for part in line["reason"].split("; ") if part)
    margin = f"margin {float(line['margin']):.2f}" if line["margin"] else ""
    said = f"{line['verdict']}: {codes}" if codes else margin or line["verdict"]
    return f"{line['key']}\n{said}"


def rank_by_verdict(line: Mapping[str, Any]) -> tuple[int, float, str]:
    """Sorting key of a line of ``qc.csv``: the most doubtful mask first, then by name."""
    sure = min(float(line["margin"] or 1), 0.5 + 0.5 * float(line["balance"] or 0))
    return _RANK[line["verdict"]], sure, line["key"]
