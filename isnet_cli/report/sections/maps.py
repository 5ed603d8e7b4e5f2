"""Relevance maps: the same images for every run, and the images of each run that stand out."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.report.blocks import (
    Block,
    Columns,
    Gallery,
    GalleryRow,
    Grid,
    Notice,
    Picture,
    Section,
    Text,
)
from isnet_cli.report.pictures import ChosenImages, MapCoverage, MapPicture, Pick
from isnet_cli.report.results import RunResults
from isnet_cli.report.sections.cohort import list_classes
from isnet_cli.report.wording import format_percent, format_score

TITLES = {
    "most": "Most relevance outside the lungs",
    "least": "Least relevance outside the lungs",
    "wrong": "Wrong predictions, the most certain first",
    "right": "Right predictions, the most certain first",
}
FILES = (
    "heatmap/index.csv",
    "evaluate/<set>/<version>/predictions.csv",
    "evaluate/<set>/<version>/background.csv",
)
Maps = Sequence[MapPicture]


def build_maps_section(
    runs: Sequence[RunResults], maps: Sequence[Maps], note: str = "", *, chosen: bool = False
) -> Section:
    """A gallery for each set.

    Args:
        runs: The runs.
        maps: Maps of each run.
        note: How the maps were made (smoothing, colour limits), for the text above.
        chosen: The page also shows images that were chosen for what they show.
    """
    blocks: list[Block] = [
        Notice(f"No maps to show for {run.name}: {_explain_no_maps(run)}", "empty")
        for run, own in zip(runs, maps, strict=True)
        if not own
    ]
    groups = list(dict.fromkeys(item.group for own in maps for item in own))
    if groups:
        drawn = any(
            run.settings.get("evaluate", {}).get("annotations", "none") != "none" for run in runs
        )
        words = (
            "Red supports the explained class, blue speaks against it. The yellow line is the "
            f"outline of the lungs{', a cyan line that of an annotated finding' * drawn}. {note}"
        )
        blocks.append(Text(words.strip()))
        if chosen:
            words = "These images were taken evenly from all labels, whatever their maps show."
            blocks.append(Text(words))
    for group in groups:
        title = group if len(groups) > 1 else ""
        own = [[item for item in found if item.group == group] for found in maps]
        several = len(runs) > 1
        blocks.append(
            _compare_maps(runs, own, title) if several else _show_maps(runs[0], own[0], title)
        )
    return Section("maps", "Relevance maps", blocks, ("heatmap/index.csv", "heatmap/<set>/*.npz"))


def build_images_section(runs: Sequence[RunResults], chosen: Sequence[ChosenImages]) -> Section:
    """Galleries of chosen images of each run, and how many images they were chosen from.

    Args:
        runs: The runs.
        chosen: Images of each run.
    """
    blocks: list[Block] = []
    shown = [run for run, own in zip(runs, chosen, strict=True) if own.picks]
    if shown:
        blocks.append(_explain_choice(shown))
    for run, own in zip(runs, chosen, strict=True):
        name = f"{run.name}, " if len(runs) > 1 else ""
        if own.picks:
            groups = dict.fromkeys(pick.group for pick in own.picks)
            blocks += [_show_group(run, own, group, name) for group in groups]
        else:
            words = f"No images to show for {run.name}: {_explain_no_images(run)}"
            blocks.append(Notice(words, "empty"))
    return Section("images", "Images to look at", blocks, FILES if shown else FILES[:1])


def caption_map(run: RunResults, item: MapPicture) -> Picture:
    """An image's map under its key, with label, prediction and share outside the lungs."""
    return _caption(item, f"label {_name_label(run, item)}", item.key)


def _explain_no_maps(run: RunResults) -> str:
    return run.missing.get("heatmap", "the stage wrote none")


def _show_maps(run: RunResults, maps: Maps, title: str) -> Grid:
    """One run: images side by side, each with its own caption."""
    return Grid([caption_map(run, item) for item in maps], least=220, title=title)


def _compare_maps(runs: Sequence[RunResults], maps: Sequence[Maps], title: str) -> Gallery:
    """Several runs: a card for each image, the runs side by side in it."""
    found = [{item.key: item for item in own} for own in maps]
    rows = []
    for key in dict.fromkeys(key for items in found for key in items):
        items = [own.get(key) for own in found]
        pairs = [(run, item) for run, item in zip(runs, items, strict=True) if item is not None]
        cells = [
            None if item is None else _caption(item, "", run.name)
            for item, run in zip(items, runs, strict=True)
        ]
        rows.append(GalleryRow(f"{key} · label {_name_label(*pairs[0])}", cells))
    return Gallery(len(runs), rows, title)


def _name_label(run: RunResults, item: MapPicture) -> str:
    """The true classes in words."""
    task = run.setting("data.labels.task")
    return ", ".join(list_classes({"label": item.label}, task)) if item.label else "none"


def _caption(item: MapPicture, label: str, head: str) -> Picture:
    says = f"predicted {item.predicted}" if item.predicted else ""
    if item.target == item.predicted:
        says += f" ({format_score(item.probability, 2)})"
    elif item.target:
        says += f"; map of {item.target} ({format_score(item.probability, 2)})"
    share = f"{format_percent(item.outside)} outside" if item.outside is not None else ""
    caption = " · ".join(part for part in (label, says.strip("; "), share, item.note) if part)
    alt = f"Relevance map over image {item.key}: {head}, {caption}"
    return Picture(item.picture.uri, alt, caption, photo=True, head=head)


def _explain_no_images(run: RunResults) -> str:
    stages = (run.missing.get(stage) for stage in ("evaluate", "heatmap"))
    return next(filter(None, stages), "no image has both a map and a prediction.")


def _explain_choice(runs: Sequence[RunResults]) -> Text:
    several = any(run.setting("data.labels.task") == "multilabel" for run in runs)
    certain = (
        "An image is wrong when at least one label is decided wrongly. It is as certain as its "
        "most certain wrong decision, or, when all are right, as its least certain one. "
        if several
        else "The most certain predictions have the highest probability of the predicted class. "
    )
    return Text(
        "These images were chosen by their figures, not by eye, among the images that have a "
        f"relevance map. {certain}Each caption says how much of the map lies outside the lungs, "
        "and whether the prediction changes when the lungs are pasted on the background of "
        "another class."
    )


def _show_group(run: RunResults, chosen: ChosenImages, group: str, name: str) -> Columns:
    picks = [pick for pick in chosen.picks if pick.group == group]
    coverage = [_describe_coverage(one) for one in chosen.coverage if one.group == group]
    sources = dict.fromkeys(source for pick in picks for source in pick.sources)
    prefix = f"{run.name}/" if name else ""
    return Columns(
        f"{name}{group}",
        [_show_pick(run, pick) for pick in picks],
        note=" ".join(coverage),
        sources=[f"{prefix}{source}" for source in sources],
    )


def _describe_coverage(one: MapCoverage) -> str:
    words = f"{one.mapped} of {one.tested} images have a map"
    if one.limit is not None:
        words += f" (heatmap.limit is {one.limit} images of a set, taken evenly from all labels)"
    if one.errors:
        lost = ", ".join(f"{count} images ({reason})" for reason, count in one.errors)
        words += f"; without map or share: {lost}"
    return f"{words}."


def _show_pick(run: RunResults, pick: Pick) -> Grid:
    pictures = [caption_map(run, item) for item in pick.maps]
    title = f"{TITLES[pick.kind]} ({len(pictures)} of {pick.among})"
    return Grid(pictures, least=115, title=title)
