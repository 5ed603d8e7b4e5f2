"""Images of a run that stand out, chosen by its figures alone among those that have a map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from isnet_cli.core.run_folder import RunFolder
from isnet_cli.labels.values import labels_of
from isnet_cli.output.figures import number
from isnet_cli.report.facts import Cells, Cover, Pick, RunFacts
from isnet_cli.report.pictures import Group, Source, group_title, open_source, read_map
from isnet_cli.report.read_run import read_table

Kind = Literal["most", "least", "wrong", "right"]
KINDS: tuple[Kind, ...] = ("most", "least", "wrong", "right")
PICTURES = 72  # of chosen images in one report
IMAGES = (2, 6)  # of one list: at least, at most
SIDE = 220  # px
SWAPPED = "other_class"  # variant of background.csv
NOT_DRAWN = "the map is neither a picture nor an array"


@dataclass(frozen=True)
class XRay:
    """What is known of one image with a map.

    Attributes:
        key: The image.
        outside: Share of the map's relevance outside the lungs, or None.
        right: Whether the prediction is right, None without a label.
        sure: How sure it is, see `sureness`.
    """

    key: str
    outside: float | None
    right: bool | None
    sure: float


def add_images(runs: Sequence[RunFacts], folders: Sequence[RunFolder]) -> list[RunFacts]:
    """The runs with the images that stand out in each of their tests, and what has a map.

    Raises:
        IsnetError: Kind "data", when a table or a map that an index names is missing or damaged.
    """
    sources = [open_source(folder) for folder in folders]
    lists = len(KINDS) * max(1, sum(len(source.index) for source in sources))
    count = min(IMAGES[1], max(IMAGES[0], PICTURES // lists))
    return [_added(run, source, count) for run, source in zip(runs, sources, strict=True)]


def pick(images: Sequence[XRay], kind: Kind) -> list[XRay]:
    """All images that can be called `kind`, the most typical first.

    No image is both among the most and the least: each side has half of the measured ones.
    """
    shared = sorted((f for f in images if f.outside is not None), key=_by_share)
    half = len(shared) // 2
    if kind == "most":
        return shared[: len(shared) - half]
    if kind == "least":
        return shared[len(shared) - half :][::-1]
    wanted = kind == "right"
    return sorted((f for f in images if f.right is wanted), key=lambda f: (-f.sure, f.key))


def sureness(line: Cells, classes: Sequence[str], task: str) -> tuple[bool | None, float]:
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
    known = {n: v for n, v in labels_of(line["label"], task).items() if v in (0, 1) and n in p}
    if not known:
        return None, min(sure.values())
    wrong = [sure[name] for name, value in known.items() if (name in decided) != bool(value)]
    return not wrong, max(wrong) if wrong else min(sure[name] for name in known)


def limited(run: RunFacts, most: int) -> RunFacts:
    """The same run with at most `most` images in each list, spread evenly over the longer ones."""
    groups = dict.fromkeys(item.group for item in run.maps)
    maps = [
        item
        for group in groups
        for item in _evenly([item for item in run.maps if item.group == group], most)
    ]
    picks = [replace(pick, maps=list(pick.maps)[:most]) for pick in run.picks if most]
    return replace(run, maps=maps, picks=picks)


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    if len(items) <= most:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * most)] for i in range(most)]


def _by_share(image: XRay) -> tuple[float, str]:
    return -(image.outside or 0.0), image.key


def _added(run: RunFacts, source: Source, count: int) -> RunFacts:
    picks, covers = [], []
    groups = list(source.index)
    index = source.folder.stage_dir("heatmap") / "index.csv"
    drawn = read_table(index) if groups else []
    for group in groups:
        test = (group.set, group.version)
        files = run.made_from(test, "predictions.csv")
        if not files:
            continue
        lines = {line["key"]: line for line in read_table(source.folder.path / files[0])}
        title = group_title(group, groups)
        swapped = run.made_from(test, "background.csv")
        notes = _notes(source.folder, swapped)
        covers.append(_cover(run, drawn, group, title, source.index[group], len(lines)))
        images = list(_images(run, source.index[group], lines))
        for kind in KINDS:
            found = pick(images, kind)
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
    return replace(run, picks=picks, covers=covers)


def _images(
    run: RunFacts, index: Mapping[str, Cells], lines: Mapping[str, Cells]
) -> Iterator[XRay]:
    classes, task = run.metrics["classes"], str(run.metrics.get("task"))
    for key, line in index.items():
        if key in lines:
            right, sure = sureness(lines[key], classes, task)
            yield XRay(key, number(line["outside_share"]), right, sure)


def _notes(folder: RunFolder, files: Sequence[str]) -> dict[str, str]:
    """XRay -> what is predicted on the background of another class."""
    found = {}
    for file in files:
        for line in read_table(folder.path / file):
            if line["variant"] == SWAPPED:
                predicted = line["predicted"] or "none"
                flips = line["flipped"] == "1"
                found[line["key"]] = f"flips to {predicted}" if flips else "does not flip"
    return found


def _cover(
    run: RunFacts,
    lines: Sequence[Cells],
    group: Group,
    title: str,
    mapped: Mapping[str, Cells],
    tested: int,
) -> Cover:
    own = [line for line in lines if (line["set"], line.get("version", "")) == _test(group)]
    reasons = {line["key"]: line["error"] for line in own if line["error"]}
    for line in own:
        if line["key"] not in mapped:
            reasons.setdefault(line["key"], NOT_DRAWN)
    limit = number(run.setting("heatmap.limit"))
    reached = limit is not None and tested > limit
    errors = Counter(reasons.values()).most_common()
    return Cover(title, tested, len(mapped), int(limit) if limit and reached else None, errors)


def _test(group: Group) -> tuple[str, str]:
    return group.set, group.version
