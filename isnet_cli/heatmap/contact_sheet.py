"""The contact sheet of a set's maps: those that lie most outside the lungs come first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from isnet_cli.core import files
from isnet_cli.dataset.test_sets import make_safe_name
from isnet_cli.heatmap.explainers import Method, method_of
from isnet_cli.heatmap.writer import MapWriter
from isnet_cli.output.images import SheetStyle, contact_sheet, panel_parts, png_bytes

SHEET = "contact_sheet.png"
TILES = 60  # maps on the sheet
COLUMNS = 6
CELL = 240  # side of one picture, px

Line = Mapping[str, str]


def write_sheet(writer: MapWriter, lines: Sequence[Line]) -> None:
    """Writes the sheet of a set in one version from its pictures; without pictures, nothing.

    Args:
        writer: What the maps were written by.
        lines: Their lines of the index.
    """
    drawn = sorted((line for line in lines if line["png"]), key=reliance_first)
    if not drawn:
        return
    images = {line["key"]: line for line in drawn}
    tiles = [_tile(writer, line) for line in drawn[:TILES]]
    captions = [_caption(line) for line in drawn[:TILES]]
    many = len(drawn) if len(drawn) <= TILES else f"{TILES} of {len(drawn)}"
    method = method_of(writer.predictor)
    version = f" ({writer.version})" if writer.biased else ""
    heading = [
        f"{method.title}, set {writer.set}{version}: {many} maps of "
        f"{len(images)} image{'s'[: len(images) > 1]}",
        f"Sorted by the share of {method.amount} outside the lungs, largest first. Below each map: "
        f"{'its' if method.of_class else 'the predicted'} class, the probability of the class, the "
        f"share outside. {_colours(method)}",
    ]
    columns = min(COLUMNS, max(3, len(tiles)))
    sheet = contact_sheet(tiles, captions, columns, style=SheetStyle(CELL, 13, 2), heading=heading)
    files.write_bytes(writer.root / writer.folder / SHEET, png_bytes(sheet))


def reliance_first(line: Line) -> tuple[bool, float, str, str]:
    """Sorting key: largest share outside the lungs first, maps without a share last, by name."""
    share = line["outside_share"]
    return not share, -float(share or 0), line["key"], line["target"]


def sheets(lines: Iterable[Line]) -> set[str]:
    """Sheets that belong to an index, relative to the stage's folder."""
    tails = ((line, f"{line['key']}_{make_safe_name(line['target'])}.png") for line in lines)
    return {
        line["png"].removesuffix(tail) + SHEET for line, tail in tails if line["png"].endswith(tail)
    }


def _tile(writer: MapWriter, line: Line) -> np.ndarray:
    """The overlay of a panel."""
    image = writer.predictor.folder.stage_dir("ingest") / "images" / f"{line['key']}.png"
    with Image.open(image) as kept, Image.open(writer.root / Path(line["png"])) as panel:
        size = (kept.height, kept.width)
        return panel_parts(np.asarray(panel.convert("RGB")), size)[1]


def _caption(line: Line) -> str:
    share = line["outside_share"]
    where = f"{100 * float(share):.0f} % outside" if share else line["error"]
    return f"{line['key']}\n{line['target']} {float(line['probability']):.2f}, {where}"


def _colours(method: Method) -> str:
    red = "red: for the class, blue: against it" if method.signed else "red: where the map is high"
    return f"Yellow: lungs; {red}."
