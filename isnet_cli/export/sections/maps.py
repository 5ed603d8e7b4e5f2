"""Maps: the same films as rows, the runs as columns."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.export.document import Block, Gallery, GalleryRow, Notice, Picture, Section, Text
from isnet_cli.export.facts import MapFacts, RunFacts, figure_of, percent


def maps_section(runs: Sequence[RunFacts], note: str = "") -> Section:
    """A gallery for each set.

    Args:
        runs: The runs with the maps to show.
        note: How the maps were drawn (smoothing, colour limits), for the text above.
    """
    blocks: list[Block] = [
        Notice(f"No maps to show for {run.name}: {_reason(run)}", "empty")
        for run in runs
        if not run.maps
    ]
    sets = list(dict.fromkeys(item.set for run in runs for item in run.maps))
    if sets:
        words = (
            "Red speaks for the class that is explained, blue against it; the yellow line is the "
            f"outline of the lungs. {note}"
        )
        blocks.append(Text(words.strip()))
    for name in sets:
        title = f"Set {name}" if len(sets) > 1 else ""
        blocks.append(_single(runs, name, title) if len(runs) == 1 else _rows(runs, name, title))
    return Section("maps", "Relevance maps", blocks, ("heatmap/index.csv", "heatmap/<set>/*.npz"))


def _reason(run: RunFacts) -> str:
    return run.missing.get("heatmap", "the stage wrote none")


def _single(runs: Sequence[RunFacts], name: str, title: str) -> Gallery:
    """One run: three films abreast, each with its own caption."""
    cells = [_shown(item, keyed=True) for item in runs[0].maps if item.set == name]
    rows = [
        GalleryRow("", [*cells[i : i + 3], *[None] * max(0, i + 3 - len(cells))])
        for i in range(0, len(cells), 3)
    ]
    return Gallery(("", "", "") if len(cells) > 2 else ("",) * len(cells), rows, title)


def _rows(runs: Sequence[RunFacts], name: str, title: str) -> Gallery:
    found = [{item.key: item for item in run.maps if item.set == name} for run in runs]
    keys = dict.fromkeys(key for items in found for key in items)
    rows = []
    for key in keys:
        items = [own.get(key) for own in found]
        label = next((item.label for item in items if item is not None), "")
        head = f"{key} · label {label}" if label else key
        cells = [None if item is None else _shown(item, keyed=False) for item in items]
        rows.append(GalleryRow(head, cells))
    return Gallery([run.name for run in runs], rows, title)


def _shown(item: MapFacts, *, keyed: bool) -> Picture:
    says = f"predicted {item.predicted}" if item.predicted else ""
    if item.target == item.predicted:
        says += f" ({figure_of(item.probability, 2)})"
    elif item.target:
        says += f"; map of {item.target} ({figure_of(item.probability, 2)})"
    parts = [
        says.strip("; "),
        f"{percent(item.outside)} outside" if item.outside is not None else "",
    ]
    if keyed:
        parts = [item.key, f"label {item.label}" if item.label else "", *parts]
    caption = " · ".join(part for part in parts if part)
    alt = f"Relevance map over film {item.key}: {caption}"
    return Picture(item.picture.uri, alt, caption, photo=True)
