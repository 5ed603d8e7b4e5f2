"""Images of a run that stand out, chosen by its figures alone among those that have a map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from isnet_cli.core.run_folder import RunFolder
from isnet_cli.labels.values import parse_label
from isnet_cli.output.figures import number
from isnet_cli.report.pictures import (
    ChosenImages,
    MapCoverage,
    MapGroup,
    MapPicture,
    MapSource,
    Pick,
    ReportPictures,
    name_group,
    open_source,
    read_map,
)
from isnet_cli.report.results import Cells, RunResults, read_table

Kind = Literal["most", "least", "wrong", "right"]
KINDS: tuple[Kind, ...] = ("most", "least", "wrong", "right")
PICTURES = 72  # of chosen images in one report
IMAGES = (2, 6)  # of one list: at least, at most
SIDE = 220  # px
SWAPPED = "other_class"  # variant of background.csv
NO_PICTURE = "the map is neither a picture nor an array"


@dataclass(frozen=True)
class MappedImage:
    """What is known of one image with a map.

    Attributes:
        key: The image.
        outside: Share of the map's relevance outside the lungs, or None.
        right: Whether the prediction is right, None without a label.
        sure: How sure it is, see `measure_sureness`.
    """

    key: str
    outside: float | None
    right: bool | None
    sure: float


def choose_images(runs: Sequence[RunResults], folders: Sequence[RunFolder]) -> list[ChosenImages]:
    """The images that stand out in each test of each run, and what has a map.

    Raises:
        IsnetError: Kind "data", when a table or a map that an index names is missing or damaged.
    """
    sources = [open_source(folder) for folder in folders]
    lists = len(KINDS) * max(1, sum(len(source.index) for source in sources))
    count = min(IMAGES[1], max(IMAGES[0], PICTURES // lists))
    return [_choose_of_run(run, source, count) for run, source in zip(runs, sources, strict=True)]


def pick_images(images: Sequence[MappedImage], kind: Kind) -> list[MappedImage]:
    """All images that can be called `kind`, the most typical first.

    No image is both among the most and the least: each side has half of the measured ones.
    """
    shared = sorted((f for f in images if f.outside is not None), key=_share_order)
    half = len(shared) // 2
    if kind == "most":
        return shared[: len(shared) - half]
    if kind == "least":
        return shared[len(shared) - half :][::-1]
    wanted = kind == "right"
    return sorted((f for f in images if f.right is wanted), key=lambda f: (-f.sure, f.key))


def measure_sureness(line: Cells, classes: Sequence[str], task: str) -> tuple[bool | None, float]:
    """Whether a line of ``predictions.csv`` is right (None without label), and how sure it is.

    One class per image: the probability of the predicted class. Several labels: of each decision
    the probability of what was decided; the highest of the wrong ones, else the lowest of all.
    """
    p = {name: float(line[f"p_{name}"]) for name in classes}
    if task != "multilabel":
        right = line["predicted"] == line["label"] if line["label"] else None
        return right, max(p.values())
    decided = set(line["predicted"].split(";"))
    sure = {name: p[name] if name in decided else 1 - p[name] for name in classes}
    known = {n: v for n, v in parse_label(line["label"], task).items() if v in (0, 1) and n in p}
    if not known:
        return None, min(sure.values())
    wrong = [sure[name] for name, value in known.items() if (name in decided) != bool(value)]
    return not wrong, max(wrong) if wrong else min(sure[name] for name in known)


def limit_images(pictures: ReportPictures, most: int, tiles: int) -> ReportPictures:
    """The same with fewer pictures.

    Args:
        pictures: All of them.
        most: Images in each list; those of the longer lists of maps are spread evenly over it.
        tiles: Masks of each cohort.
    """
    chosen = [
        replace(
            one, picks=[replace(pick, maps=list(pick.maps)[:most]) for pick in one.picks if most]
        )
        for one in pictures.chosen
    ]
    return ReportPictures(
        [_limit_maps(maps, most) for maps in pictures.maps],
        chosen,
        [list(own)[:tiles] for own in pictures.tiles],
        pictures.note,
    )


def _limit_maps(maps: Sequence[MapPicture], most: int) -> list[MapPicture]:
    groups = dict.fromkeys(item.group for item in maps)
    return [
        item
        for group in groups
        for item in _spread_evenly([item for item in maps if item.group == group], most)
    ]


def _spread_evenly(items: Sequence[MapPicture], most: int) -> list[MapPicture]:
    if len(items) <= most:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * most)] for i in range(most)]


def _share_order(image: MappedImage) -> tuple[float, str]:
    return -(image.outside or 0.0), image.key


def _choose_of_run(run: RunResults, source: MapSource, count: int) -> ChosenImages:
    picks, coverage = [], []
    groups = list(source.index)
    index = source.folder.stage_dir("heatmap") / "index.csv"
    indexed = read_table(index) if groups else []
    for group in groups:
        test = (group.set, group.version)
        files = run.list_files(test, "predictions.csv")
        if not files:
            continue
        lines = {line["key"]: line for line in read_table(source.folder.path / files[0])}
        title = name_group(group, groups)
        swapped = run.list_files(test, "background.csv")
        notes = _read_flips(source.folder, swapped)
        coverage.append(_count_maps(run, indexed, group, title, source.index[group], len(lines)))
        images = list(_read_mapped(run, source.index[group], lines))
        for kind in KINDS:
            found = pick_images(images, kind)
            if not found:
                continue
            chosen = [source.index[group][image.key] for image in found[:count]]
            maps = [
                replace(read_map(source, line, title, SIDE), note=notes.get(line["key"], ""))
                for line in chosen
            ]
            origin = ["heatmap/index.csv", *files, *swapped]
            measured = sum(image.outside is not None for image in images)
            among = measured if kind in ("most", "least") else len(found)
            picks.append(Pick(title, kind, maps, among, origin))
    return ChosenImages(picks, coverage)


def _read_mapped(
    run: RunResults, index: Mapping[str, Cells], lines: Mapping[str, Cells]
) -> Iterator[MappedImage]:
    classes, task = run.metrics["classes"], str(run.metrics.get("task"))
    for key, line in index.items():
        if key in lines:
            right, sure = measure_sureness(lines[key], classes, task)
            yield MappedImage(key, number(line["outside_share"]), right, sure)


def _read_flips(folder: RunFolder, files: Sequence[str]) -> dict[str, str]:
    """Image -> what is predicted on the background of another class."""
    found = {}
    for file in files:
        for line in read_table(folder.path / file):
            if line["variant"] == SWAPPED:
                predicted = line["predicted"] or "none"
                flips = line["flipped"] == "1"
                found[line["key"]] = f"flips to {predicted}" if flips else "does not flip"
    return found


def _count_maps(
    run: RunResults,
    lines: Sequence[Cells],
    group: MapGroup,
    title: str,
    mapped: Mapping[str, Cells],
    tested: int,
) -> MapCoverage:
    own = [
        line
        for line in lines
        if (line["set"], line.get("version", "")) == (group.set, group.version)
    ]
    reasons = {line["key"]: line["error"] for line in own if line["error"]}
    for line in own:
        if line["key"] not in mapped:
            reasons.setdefault(line["key"], NO_PICTURE)
    limit = number(run.setting("heatmap.limit"))
    reached = limit is not None and tested > limit
    errors = Counter(reasons.values()).most_common()
    return MapCoverage(
        title, tested, len(mapped), int(limit) if limit and reached else None, errors
    )
