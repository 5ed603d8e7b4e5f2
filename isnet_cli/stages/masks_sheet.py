"""The contact sheet of a run's lung masks: those most in need of a look come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.data.films import load_film
from isnet_cli.data.geometry import resize
from isnet_cli.data.maskfiles import load_mask
from isnet_cli.data.types import Row
from isnet_cli.export.images import SheetStyle, contact_sheet, film_tile, png_bytes
from isnet_cli.runs.folder import RunFolder

TILES = 60  # films on the sheet
COLUMNS = 10
CELL = 176  # side of one picture, px
_RANK = {"suspect": 0, "missing": 1, "ok": 2}


def contact_sheet_png(
    lines: Sequence[Mapping[str, Any]], rows: Mapping[str, Row], folder: RunFolder
) -> bytes:
    """PNG of the first `TILES` films by doubt: suspect, missing, then by the network's margin.

    Args:
        lines: Lines of ``qc.csv``, at least one.
        rows: The manifest by key.
        folder: The run.
    """
    chosen = sorted(lines, key=doubt)[:TILES]
    tiles, captions = [], []
    for line in chosen:
        key = line["key"]
        film = load_film(folder.stage_dir("ingest") / rows[key].film)
        mask = None
        if line["verdict"] != "missing":
            whole = load_mask(folder.stage_dir("masks") / f"{key}.png")
            height, width = film.shape
            mask = resize(whole.astype("float32"), (height, width)) >= 0.5
        tiles.append(film_tile(film, mask, side=CELL))
        word = line["verdict"] if line["verdict"] == "ok" else line["reason"]
        captions.append(f"{key} {word}")
    return png_bytes(contact_sheet(tiles, captions, COLUMNS, style=SheetStyle(CELL, 11, 3)))


def doubt(line: Mapping[str, Any]) -> tuple[int, float, str]:
    """Sorting key of a line of ``qc.csv``: the most doubtful mask first, then by name."""
    sure = min(float(line["margin"] or 1), 0.5 + 0.5 * float(line["balance"] or 0))
    return _RANK[line["verdict"]], sure, line["key"]
