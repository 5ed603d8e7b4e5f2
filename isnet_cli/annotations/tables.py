"""Boxes from a CSV: one row a box, several rows an image, under the names that data sets use."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isnet_cli.annotations.coco import FAR, Box
from isnet_cli.config.schema import Limits
from isnet_cli.errors import IsnetError
from isnet_cli.labels.column_names import FILE_NAMES, ROLE_NAMES, list_names
from isnet_cli.labels.csv_table import CsvTable, read_table

# Names are compared in lower case, letters and digits only: ``Bbox [x`` is bboxx.
CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),  # VinDr-CXR
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("left", "top", "right", "bottom"),
    ("bboxxmin", "bboxymin", "bboxxmax", "bboxymax"),
)
SIZES = (
    ("x", "y", "width", "height"),  # RSNA
    ("x", "y", "w", "h"),
    ("bboxx", "y", "w", "h"),  # ChestX-ray14: ``Bbox [x,y,w,h]``
    ("bboxx", "bboxy", "bboxw", "bboxh"),
    ("bboxx", "bboxy", "bboxwidth", "bboxheight"),
    ("left", "top", "width", "height"),
)
WHOLE = (  # size of the image that the boxes are in
    ("imagewidth", "imageheight"), ("imgwidth", "imgheight"), ("originalwidth", "originalheight"),
)  # fmt: skip
LABELS = (
    *("class", "classname", "label", "labels", "findinglabel", "finding", "category", "lesion"),
    *("pathology", "disease", "diagnosis", "lesiontype", "boxlabel"),
)
NO_NUMBER = {"", "nan", "null", "none", "na"}
NO_FINDING = {"nofinding", "nofindings", "normal", "negative"}
FIX = "columns image, x, y, width, height (pixels of the original image), and class where known"


@dataclass(frozen=True)
class BoxRow:
    """One row.

    Attributes:
        image: As the table names it.
        label: What it is, or empty.
        box: Left, top, right, bottom; None: the row says that there is no finding.
        whole: (height, width) of the image that the box is in; None: the original.
    """

    image: str
    label: str
    box: Box | None
    whole: tuple[float, float] | None = None


def read_boxes(path: Path, limits: Limits | None = None) -> list[BoxRow]:
    """The rows of a table of boxes, in order.

    A row whose four cells are empty, or whose label is ``No finding`` or ``normal``, has no box.

    Raises:
        IsnetError: Kind "data": no such table, columns that are no boxes, a cell that is not a
            number; names the line.
    """
    try:
        table = read_table(path, limits=limits)
    except IsnetError as error:  # whose remedy is that of a label file
        raise IsnetError(error.kind, error.message, details=error.details, fix=FIX) from error
    places = {re.sub(r"[^a-z0-9]", "", name.lower()): i for i, name in enumerate(table.columns)}
    image = _find_first(places, (*FILE_NAMES, *ROLE_NAMES["patient"]))
    corners = _find_form(places, CORNERS)
    numbers = corners or _find_form(places, SIZES)
    if image is None or numbers is None:
        lacking = "that names the image" if image is None else "with x, y, width and height"
        raise IsnetError(
            "data",
            f"{path}: no columns {lacking}, found {list_names(table.columns)}"
            if image is not None
            else f"{path}: no column {lacking}, found {list_names(table.columns)}",
            fix=FIX,
        )
    whole = _find_form(places, (*WHOLE, *([("width", "height")] if corners else [])))
    label = _find_first(places, LABELS)
    return [
        _read_row(table, i, (image, label), numbers, whole, corners=corners is not None)
        for i in range(len(table.rows))
    ]


def _find_first(places: dict[str, int], names: Sequence[str]) -> int | None:
    return next((places[name] for name in names if name in places), None)


def _find_form(places: dict[str, int], forms: Sequence[tuple[str, ...]]) -> tuple[int, ...] | None:
    found = next((form for form in forms if all(name in places for name in form)), None)
    return None if found is None else tuple(places[name] for name in found)


def _read_row(
    table: CsvTable,
    index: int,
    names: tuple[int, int | None],
    numbers: tuple[int, ...],
    whole: tuple[int, ...] | None,
    *,
    corners: bool,
) -> BoxRow:
    cells = table.rows[index]
    label = "" if names[1] is None else cells[names[1]]
    empty = [cells[i].lower() in NO_NUMBER for i in numbers]
    if all(empty) or re.sub(r"[^a-z]", "", label.lower()) in NO_FINDING:
        return BoxRow(cells[names[0]], label, None)
    x, y, *rest = (_read_number(table, index, i) for i in numbers)
    right, bottom = rest if corners else (x + rest[0], y + rest[1])
    size = None
    if whole is not None and not any(cells[i].lower() in NO_NUMBER for i in whole):
        width, height = (_read_number(table, index, i) for i in whole)
        if min(width, height) < 1:
            raise _fault(table, index, f"an image of {width:g} x {height:g} pixels")
        size = height, width
    return BoxRow(cells[names[0]], label, (x, y, right, bottom), size)


def _read_number(table: CsvTable, index: int, place: int) -> float:
    cell = table.rows[index][place]
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not abs(value) <= FAR:
        found = f"{table.columns[place]} '{cell:.40}', expected a number of pixels"
        raise _fault(table, index, found)
    return value


def _fault(table: CsvTable, index: int, found: str) -> IsnetError:
    return IsnetError("data", f"{table.path}:{table.lines[index]}: {found}", fix=FIX)
