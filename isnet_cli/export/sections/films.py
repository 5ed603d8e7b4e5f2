"""Films that stand out: most and least relevance outside the lungs, wrong and right predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isnet_cli.export.document import Block, Grid, Notice, Section, Text
from isnet_cli.export.facts import Cover, Pick, RunFacts
from isnet_cli.export.sections.maps import shown_map

TITLES = {
    "most": "most relevance outside the lungs",
    "least": "least relevance outside the lungs",
    "wrong": "wrong, the surest first",
    "right": "right, the surest first",
}
FILES = (
    "heatmap/index.csv",
    "evaluate/<set>/<version>/predictions.csv",
    "evaluate/<set>/<version>/background.csv",
)


def films_section(runs: Sequence[RunFacts]) -> Section:
    """Galleries of chosen films of each run, and how many films they were chosen from."""
    blocks: list[Block] = []
    chosen = [run for run in runs if run.picks]
    if chosen:
        blocks.append(_meaning(chosen))
    for run in runs:
        name = f"{run.name}, " if len(runs) > 1 else ""
        if run.picks:
            blocks += [Text(words) for words in _coverage(run, name)]
            blocks += [_gallery(run, pick, name) for pick in run.picks]
        else:
            blocks.append(Notice(f"No films to show for {run.name}: {_reason(run)}", "empty"))
    return Section("films", "Films to look at", blocks, FILES if chosen else FILES[:1])


def _reason(run: RunFacts) -> str:
    stages = (run.missing.get(stage) for stage in ("evaluate", "heatmap"))
    return next(filter(None, stages), "no film has both a map and a prediction.")


def _meaning(runs: Sequence[RunFacts]) -> Text:
    several = any(run.setting("data.labels.task") == "multilabel" for run in runs)
    sure = (
        "A film is wrong when some label is decided wrongly, and as sure as the decision: the "
        "surest wrong one, or the least sure right one. "
        if several
        else "The surest are those with the highest probability of the predicted class. "
    )
    return Text(
        "Chosen by figures, not by eye, among the films that have a relevance map. "
        f"{sure}Each caption says how much of the map lies outside the lungs, and whether the "
        "prediction changes when the lungs stand on the background of another class."
    )


def _coverage(run: RunFacts, name: str) -> Iterator[str]:
    for cover in run.covers:
        if cover.mapped < cover.tested or cover.errors:
            yield f"{name}{cover.group}: {_covered(cover)}"


def _covered(cover: Cover) -> str:
    words = f"{cover.mapped} of {cover.tested} films have a map"
    if cover.limit is not None:
        words += f" (heatmap.limit: {cover.limit} of each set; films of all labels are drawn)"
    if cover.errors:
        lost = ", ".join(f"{count} films: {reason}" for reason, count in cover.errors)
        words += f". Without map or share: {lost}"
    return f"{words}."


def _gallery(run: RunFacts, pick: Pick, name: str) -> Grid:
    pictures = [shown_map(run, item) for item in pick.maps]
    count = f"{len(pictures)} of {pick.among}"
    title = f"{name}{pick.group}: {TITLES[pick.kind]} ({count})"
    return Grid(pictures, least=150, title=title, sources=pick.sources)
