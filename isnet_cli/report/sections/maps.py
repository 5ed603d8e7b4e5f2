"""Maps: the same images as rows, the runs as columns."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.report.document import (
    Block,
    Gallery,
    GalleryRow,
    Grid,
    Notice,
    Picture,
    Section,
    Text,
)
from isnet_cli.report.facts import MapFacts, RunFacts, figure_of, percent
from isnet_cli.report.sections.cohort import classes_of


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
    sets = list(dict.fromkeys(item.group for run in runs for item in run.maps))
    if sets:
        words = (
            "Red speaks for the class that is explained, blue against it; the yellow line is the "
            f"outline of the lungs. {note}"
        )
        blocks.append(Text(words.strip()))
        if any(run.picks for run in runs):
            blocks.append(
                Text("These images were drawn evenly over the labels, whatever they show.")
            )
    for name in sets:
        title = name if len(sets) > 1 else ""
        blocks.append(_single(runs, name, title) if len(runs) == 1 else _rows(runs, name, title))
    return Section("maps", "Relevance maps", blocks, ("heatmap/index.csv", "heatmap/<set>/*.npz"))


def _reason(run: RunFacts) -> str:
    return run.missing.get("heatmap", "the stage wrote none")


def _single(runs: Sequence[RunFacts], name: str, title: str) -> Grid:
    """One run: images side by side, each with its own caption."""
    items = [item for item in runs[0].maps if item.group == name]
    pictures = [shown_map(runs[0], item) for item in items]
    return Grid(pictures, least=220, title=title)


def shown_map(run: RunFacts, item: MapFacts) -> Picture:
    """An image's map under its key, with label, prediction and share outside the lungs."""
    return _shown(item, f"label {_label(run, item)}", item.key)


def _rows(runs: Sequence[RunFacts], name: str, title: str) -> Gallery:
    found = [{item.key: item for item in run.maps if item.group == name} for run in runs]
    keys = dict.fromkeys(key for items in found for key in items)
    rows = []
    for key in keys:
        items = [own.get(key) for own in found]
        pairs = [(run, item) for run, item in zip(runs, items, strict=True) if item is not None]
        cells = [
            None if item is None else _shown(item, "", run.name)
            for item, run in zip(items, runs, strict=True)
        ]
        rows.append(GalleryRow(f"{key} · label {_label(*pairs[0])}", cells))
    return Gallery(len(runs), rows, title)


def _label(run: RunFacts, item: MapFacts) -> str:
    """The true classes in words."""
    task = run.setting("data.labels.task")
    return ", ".join(classes_of({"label": item.label}, task)) if item.label else "none"


def _shown(item: MapFacts, label: str, head: str) -> Picture:
    says = f"predicted {item.predicted}" if item.predicted else ""
    if item.target == item.predicted:
        says += f" ({figure_of(item.probability, 2)})"
    elif item.target:
        says += f"; map of {item.target} ({figure_of(item.probability, 2)})"
    share = f"{percent(item.outside)} outside" if item.outside is not None else ""
    caption = " · ".join(part for part in (label, says.strip("; "), share, item.note) if part)
    alt = f"Relevance map over image {item.key}: {head}, {caption}"
    return Picture(item.picture.uri, alt, caption, photo=True, head=head)
