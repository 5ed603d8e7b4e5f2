"""Masks from a COCO annotation file: polygons, run lengths (plain or compressed) and boxes.

Format: Lin et al., "Microsoft COCO: common objects in context" (arXiv:1405.0312) and its reference
code, ``cocoapi/common/maskApi.c``: runs go down the columns and begin with background; polygon
corners are in pixels, (0, 0) being the outer corner of the first pixel.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StrictInt, model_validator

from isnet_cli.config.schema import Limits
from isnet_cli.core.records.read import STRICT, FaultyFileError, Record, check_record
from isnet_cli.core.records.schemas import Number, Text
from isnet_cli.errors import IsnetError, UnreadableImage, explain_error
from isnet_cli.guard.opening import parse_json, read_bytes
from isnet_cli.guard.sizes import check_pixels

Mask = NDArray[np.bool_]
COST = 4  # bytes that drawing takes per pixel
MAX_CORNERS = 200_000  # of one picture: a lung has some hundred
EXPECTED = "images (id, file_name, height, width) and annotations (image_id, segmentation or bbox)"
FAR = 1e9  # px: no picture reaches so far
LUNG = "lung"  # categories with this word, where there are any; else all


Id = StrictInt | Annotated[str, Field(min_length=1)]


class CocoImage(Record):
    """A picture; its size is checked when its mask is drawn."""

    id: Id
    file_name: Text
    height: StrictInt
    width: StrictInt


class CocoCategory(Record):
    """What annotations are of."""

    id: Id
    name: str


class CocoAnnotation(Record):
    """An outline; looked at when it is drawn: a faulty one costs its picture alone."""

    image_id: Id
    category_id: Id | None = None
    segmentation: list[Any] | dict[str, Any]


class CocoFinding(Record):
    """An outline, or a box alone: x, y, width, height in pixels of the picture."""

    image_id: Id
    category_id: Id | None = None
    segmentation: list[Any] | dict[str, Any] | None = None
    bbox: (
        Annotated[
            list[Annotated[Number, Field(ge=-FAR, le=FAR)]], Field(min_length=4, max_length=4)
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _drawn(self) -> CocoFinding:
        if not self.segmentation and self.bbox is None:
            raise ValueError("segmentation: missing, and so is bbox")
        return self


class CocoFile(Record):
    """The annotation file."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory] = Field(default_factory=list)

    @model_validator(mode="after")
    def _each_once(self) -> CocoFile:
        for name, items in (("images", self.images), ("categories", self.categories)):
            count = Counter(item.id for item in items)
            twice = [key for key, number in count.items() if number > 1]
            if twice:
                raise ValueError(f"{name}: id {twice[0]!r:.40} a second time, expected each once")
        return self


class CocoFindings(CocoFile):
    """The annotation file of findings, which may have boxes in place of outlines."""

    annotations: list[CocoFinding]  # type: ignore[assignment]


@dataclass(frozen=True)
class Outlines:
    """Annotations of one picture: all of its lungs, or those of one finding.

    Attributes:
        file: The picture's name in the annotation file.
        height: Its rows, px.
        width: Its columns, px.
        parts: ``segmentation`` of each annotation, as found: the mask is their union.
    """

    file: str
    height: int
    width: int
    parts: tuple[Any, ...]


Box = tuple[float, float, float, float]  # left, top, right, bottom, px


@dataclass(frozen=True)
class CocoPicture:
    """One picture of a file of findings.

    Attributes:
        file: The picture's name in the annotation file.
        height: Its rows, px.
        width: Its columns, px.
        findings: Category (empty without one), and outline or box.
    """

    file: str
    height: int
    width: int
    findings: tuple[tuple[str, Outlines | Box], ...]


def read_coco(path: Path, limits: Limits | None = None) -> list[Outlines]:
    """Pictures with at least one lung annotation, in the order of the file.

    Where a category's name holds the word lung, other categories are left out.

    Raises:
        IsnetError: Kind "data": not JSON, or not a COCO annotation file.
    """
    tree = _read(
        path, CocoFile, limits or Limits(), "data.masks: such a .json, or a folder of mask pictures"
    )
    pictures = {item["id"]: item for item in tree["images"]}
    names = {c["id"]: c["name"].casefold() for c in tree.get("categories", [])}
    lungs = {number for number, name in names.items() if LUNG in name}
    parts: dict[Any, list[Any]] = defaultdict(list)
    for item in tree["annotations"]:
        if not lungs or item.get("category_id") in lungs:
            parts[item["image_id"]].append(item["segmentation"])
    return [
        Outlines(item["file_name"], item["height"], item["width"], tuple(parts[number]))
        for number, item in pictures.items()
        if number in parts
    ]


def read_coco_findings(path: Path, limits: Limits | None = None) -> list[CocoPicture]:
    """All pictures with what is drawn in each, in the order of the file.

    Raises:
        IsnetError: Kind "data": not JSON, or not a COCO annotation file.
    """
    tree = _read(
        path,
        CocoFindings,
        limits or Limits(),
        "evaluate.annotations: such a .json, a .csv or a folder of masks",
    )
    names = {c["id"]: c["name"] for c in tree.get("categories", [])}
    parts: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for item in tree["annotations"]:
        parts[item["image_id"]].append(item)
    found = []
    for picture in tree["images"]:
        place = picture["file_name"], picture["height"], picture["width"]
        drawn = [
            (names.get(item.get("category_id"), ""), _drawn_by(item, place))
            for item in parts[picture["id"]]
        ]
        found.append(CocoPicture(*place, tuple(drawn)))
    return found


def _drawn_by(item: dict[str, Any], place: tuple[str, int, int]) -> Outlines | Box:
    if item.get("segmentation"):
        return Outlines(*place, (item["segmentation"],))
    x, y, width, height = (float(value) for value in item["bbox"])
    return x, y, x + width, y + height


def _read(path: Path, schema: type[Record], limits: Limits, fix: str) -> dict[str, Any]:
    try:
        content = read_bytes(path, limits.table_bytes)
        tree = parse_json(
            content, memory=limits.memory_bytes, object_pairs_hook=STRICT["object_pairs_hook"]
        )  # NaN of an outline is found when it is drawn
    except (OSError, ValueError) as error:
        why = explain_error(error, (FaultyFileError,))
        raise IsnetError(
            "data", f"{path}: not a COCO annotation file ({why}), expected {EXPECTED}", fix=fix
        ) from error
    check_record(tree, schema, path, what="a COCO annotation file", fix=fix)
    found: dict[str, Any] = tree
    return found


def draw(outlines: Outlines, limits: Limits | None = None) -> Mask:
    """The mask [H, W]: the union of all parts.

    Args:
        outlines: The annotations.
        limits: What a picture may be; None: the defaults.

    Raises:
        UnreadableImage: ``mask_unreadable`` or ``mask_size``, naming what was found.
    """
    height, width = outlines.height, outlines.width
    if min(height, width) < 1:
        raise UnreadableImage("mask_unreadable", f"annotation of {width} x {height} pixels")
    try:
        check_pixels(width, height, 1, COST, limits or Limits())
    except UnreadableImage as fault:
        raise UnreadableImage("mask_unreadable", f"annotation of {fault.detail}") from None
    corners = sum(_count_corners(part) for part in outlines.parts)
    if corners > MAX_CORNERS:
        raise UnreadableImage(
            "mask_unreadable",
            f"annotation of {corners} corners, at most {MAX_CORNERS} are drawn per picture",
        )
    mask = np.zeros((height, width), np.bool_)
    for part in outlines.parts:
        try:
            if isinstance(part, dict):
                mask |= _runs(part, (height, width))
            else:
                for corners in part:
                    mask |= fill_polygon(_corners(corners), (height, width))
        except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
            raise UnreadableImage(
                "mask_unreadable",
                "annotation is neither a polygon (x, y, x, y, ...) nor run lengths (size, counts)",
            ) from error
    return mask


def _count_corners(part: Any) -> int:
    """Corners of a part's polygons, whatever it is."""
    if not isinstance(part, list):
        return 0
    return sum(len(corners) // 2 for corners in part if isinstance(corners, list))


def _corners(numbers: Sequence[float]) -> NDArray[np.float64]:
    corners = np.asarray(numbers, np.float64)
    if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
        raise ValueError("not a polygon")
    return corners.reshape(-1, 2)


def fill_polygon(corners: NDArray[np.float64], size: tuple[int, int]) -> Mask:
    """Pixels of [H, W] whose centres lie inside a polygon, by the even-odd rule.

    Args:
        corners: [N, 2], x and y in pixels.
        size: Height and width.
    """
    height, width = size
    ends = np.roll(corners, -1, axis=0)
    change = np.zeros((height, width + 1), np.uint8)  # crossings, of which only parity counts
    for (x0, y0), (x1, y1) in zip(corners, ends, strict=True):
        low, high = sorted((y0, y1))
        first, last = max(0, math.ceil(low - 0.5)), min(height, math.ceil(high - 0.5))
        if first >= last:
            continue
        rows = np.arange(first, last)
        crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.ceil(crossing - 0.5).clip(0, width).astype(np.int64)
        change[rows, columns] += 1  # each row is there once
    np.cumsum(change, axis=1, dtype=np.uint8, out=change)
    return np.asarray(change[:, :width] & 1, np.bool_)


def _runs(part: dict[str, Any], size: tuple[int, int]) -> Mask:
    """The mask of a ``{size, counts}`` annotation; `counts` is a list, or text when compressed."""
    found = tuple(int(n) for n in part["size"])
    if found != size:
        raise UnreadableImage(
            "mask_size",
            f"run lengths of {' x '.join(map(str, found[::-1]))} pixels, expected the picture's"
            f" {size[1]} x {size[0]}",
        )
    counts = part["counts"]
    runs = decompress(counts) if isinstance(counts, str) else [int(n) for n in counts]
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise ValueError("runs do not fill the picture")
    levels = np.arange(len(runs)) % 2 == 1
    return np.repeat(levels, runs).reshape(size[1], size[0]).T


def decompress(text: str) -> list[int]:
    """Run lengths of COCO's compressed text.

    Each number is written in groups of five bits, lowest first, as the character 48 + group, plus
    32 where another group follows; the sign is the highest bit of the last one. From the fourth run
    on, the difference to the run two before is written.

    Raises:
        ValueError: Not such a text.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 60:
            raise ValueError("not COCO run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("run lengths end within a number")
    return runs
