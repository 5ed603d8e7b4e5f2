"""Images that stand out: most and least relevance outside the lungs, right and wrong answers."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.report.document import Block, Columns, Grid, Notice, Section, Text
from isnet_cli.report.facts import Cover, Pick, RunFacts
from isnet_cli.report.sections.maps import shown_map

TITLES = {
    "most": "Most relevance outside the lungs",
    "least": "Least relevance outside the lungs",
    "wrong": "Wrong, the surest first",
    "right": "Right, the surest first",
}
FILES = (
    "heatmap/index.csv",
    "evaluate/<set>/<version>/predictions.csv",
    "evaluate/<set>/<version>/background.csv",
)


def images_section(runs: Sequence[RunFacts]) -> Section:
    """Galleries of chosen images of each run, and how many images they were chosen from."""
    blocks: list[Block] = []
    chosen = [run for run in runs if run.picks]
    if chosen:
        blocks.append(_meaning(chosen))
    for run in runs:
        name = f"{run.name}, " if len(runs) > 1 else ""
        if run.picks:
            groups = dict.fromkeys(pick.group for pick in run.picks)
            blocks += [_of_group(run, group, name) for group in groups]
        else:
            blocks.append(Notice(f"No images to show for {run.name}: {_reason(run)}", "empty"))
    return Section("images", "Images to look at", blocks, FILES if chosen else FILES[:1])


def _reason(run: RunFacts) -> str:
    stages = (run.missing.get(stage) for stage in ("evaluate", "heatmap"))
    return next(filter(None, stages), "no image has both a map and a prediction.")


def _meaning(runs: Sequence[RunFacts]) -> Text:
    several = any(run.setting("data.labels.task") == "multilabel" for run in runs)
    sure = (
        "An image is wrong when some label is decided wrongly, and as sure as the decision: the "
        "surest wrong one, or the least sure right one. "
        if several
        else "The surest are those with the highest probability of the predicted class. "
    )
    return Text(
        "Chosen by figures, not by eye, among the images that have a relevance map. "
        f"{sure}Each caption says how much of the map lies outside the lungs, and whether the "
        "prediction changes when the lungs stand on the background of another class."
    )


def _of_group(run: RunFacts, group: str, name: str) -> Columns:
    picks = [pick for pick in run.picks if pick.group == group]
    covers = [_covered(cover) for cover in run.covers if cover.group == group]
    sources = dict.fromkeys(source for pick in picks for source in pick.sources)
    prefix = f"{run.name}/" if name else ""
    return Columns(
        f"{name}{group}",
        [_gallery(run, pick) for pick in picks],
        note=" ".join(covers),
        sources=[f"{prefix}{source}" for source in sources],
    )


def _covered(cover: Cover) -> str:
    words = f"{cover.mapped} of {cover.tested} images have a map"
    if cover.limit is not None:
        words += f" (heatmap.limit is {cover.limit} images of a set, drawn evenly over the labels)"
    if cover.errors:
        lost = ", ".join(f"{count} images ({reason})" for reason, count in cover.errors)
        words += f"; without map or share: {lost}"
    return f"{words}."


def _gallery(run: RunFacts, pick: Pick) -> Grid:
    pictures = [shown_map(run, item) for item in pick.maps]
    title = f"{TITLES[pick.kind]} ({len(pictures)} of {pick.among})"
    return Grid(pictures, least=115, title=title)
