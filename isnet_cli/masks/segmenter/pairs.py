"""Images with their given masks, for the training of a segmenter: from a table, folders or COCO."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from isnet_cli.annotations.coco import Outlines, draw, read_coco
from isnet_cli.config.schema import Limits
from isnet_cli.config.segmenter import Pairs
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.images.find import collect_images, make_printable, strip_suffix
from isnet_cli.images.mask_files import PAIR, Mask, find_masks, load_mask
from isnet_cli.labels.csv_table import read_table

NEEDED, KNOWN = ("file", "mask"), ("patient", "source", "label")  # columns of the table
ALONE = "images"  # the source, where none is given
UNLABELLED = "unlabelled-"  # how sources of images without masks begin


@dataclass(frozen=True)
class Pair:
    """One image and where its mask is.

    Attributes:
        name: Key of the image in tables; unique.
        image: The image's file.
        mask: Mask file, or two joined by ``|``; empty when there is none or `outlines` has it.
        patient: What keeps images together; the name where no patient is given.
        source: Hospital or data set.
        label: Kind of image that figures are separated by; may be empty.
        outlines: Annotations of a COCO file, or None.
    """

    name: str
    image: Path
    mask: str
    patient: str = field(repr=False)
    source: str = ALONE
    label: str = ""
    outlines: Outlines | None = None


def find_pairs(data: Pairs, limits: Limits | None = None) -> list[Pair]:
    """All images of the configuration with their masks, named ones left out, in a fixed order.

    Those without masks come last; their sources and names begin with `UNLABELLED`.

    Raises:
        IsnetError: Kind "data": nothing there, a column is missing, a name or mask is ambiguous, or
            `exclude` names an image that does not exist.
    """
    pairs = [*_find_all(data, limits or Limits()), *_find_unlabelled(data)]
    unknown = sorted(set(data.exclude) - {pair.name for pair in pairs})
    if unknown:
        raise IsnetError(
            "data",
            f"data.exclude: {len(unknown)} of {len(data.exclude)} names are no image"
            f" ({make_printable(unknown[0])})",
            fix=f"names look like {pairs[0].name}",
        )
    kept = [pair for pair in pairs if pair.name not in set(data.exclude)]
    sources = {pair.source for pair in kept if not is_unlabelled(pair)}
    missing = sorted(set(data.held_out_sources) - sources)
    if missing:
        there = ", ".join(sorted(sources))
        raise IsnetError(
            "data", f"data.held_out_sources: no image of {missing[0]}, sources are {there}"
        )
    return kept


def _find_all(data: Pairs, limits: Limits) -> list[Pair]:
    return _from_table(Path(data.table), limits) if data.table else _from_files(data, limits)


def _find_unlabelled(data: Pairs) -> list[Pair]:
    pairs = []
    for name in sorted(data.unlabelled):
        source = f"{UNLABELLED}{name}"
        for key, path in collect_images(data.unlabelled[name]).images:
            whole = f"{source}/{key}"
            pairs.append(Pair(whole, path, "", whole, source))
    return pairs


def is_unlabelled(pair: Pair) -> bool:
    """Whether an image has no given mask, but a teacher's."""
    return pair.source.startswith(UNLABELLED)


def read_mask(pair: Pair, limits: Limits | None = None) -> Mask:
    """The pair's mask [H, W].

    Raises:
        UnreadableImage: With a reason that begins with ``mask_``.
    """
    if pair.outlines is not None:
        return draw(pair.outlines, limits)
    if not pair.mask:
        raise UnreadableImage("mask_missing", "no mask is named like this image")
    return load_mask(pair.mask, limits)


def _from_table(path: Path, limits: Limits) -> list[Pair]:
    table = read_table(path, limits=limits)
    lacking = [name for name in NEEDED if name not in table.columns]
    if lacking:
        raise IsnetError(
            "data",
            f"{path}: no column {' and '.join(lacking)}, found {', '.join(table.columns)}",
            fix=f"columns {', '.join(NEEDED)}; where known also {', '.join(KNOWN)}",
        )
    images = table.column("file")
    masks = table.column("mask")
    more = {name: table.column(name) for name in KNOWN if name in table.columns}
    names = _names(path, images)
    pairs = []
    for place, (name, image, mask) in enumerate(zip(names, images, masks, strict=True)):
        given = {key: cells[place] for key, cells in more.items() if cells[place]}
        sides = PAIR.join(str(path.parent / side.strip()) for side in mask.split(PAIR) if side)
        patient, source, label = (
            given.get(key, default) for key, default in zip(KNOWN, (name, ALONE, ""), strict=True)
        )
        pairs.append(Pair(name, path.parent / image, sides, patient, source, label))
    return sorted(pairs, key=lambda pair: pair.name)


def _names(path: Path, files: Sequence[str]) -> list[str]:
    """File names without ending; whole paths where two would be the same."""
    whole = [make_printable(PurePosixPath(file.replace("\\", "/")).as_posix()) for file in files]
    short = [strip_suffix(PurePosixPath(name).name) for name in whole]
    names = short if len({name.casefold() for name in short}) == len(short) else whole
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise IsnetError("data", f"{path}: {twice} stands in two rows, expected one per image")
    return names


def _from_files(data: Pairs, limits: Limits) -> list[Pair]:
    assert data.images is not None and data.masks is not None  # noqa: S101, PT018 - checked before
    images = collect_images(data.images).images
    masks = Path(data.masks)
    if masks.suffix.lower() != ".json":
        found = find_masks(masks, [key for key, _ in images])
        return [Pair(key, path, mask, key) for (key, path), mask in zip(images, found, strict=True)]
    by_name: dict[str, list[Outlines]] = defaultdict(list)
    for outlines in read_coco(masks, limits):
        by_name[PurePosixPath(outlines.file.replace("\\", "/")).name.casefold()].append(outlines)
    pairs = []
    for key, path in images:
        fits = by_name.get(path.name.casefold(), [])
        if len(fits) > 1:
            fits = [one for one in fits if path.as_posix().endswith(one.file.replace("\\", "/"))]
        if len(fits) > 1:
            raise IsnetError("data", f"{masks}: {path.name} stands for {len(fits)} pictures")
        pairs.append(Pair(key, path, "", key, outlines=fits[0] if fits else None))
    return pairs
