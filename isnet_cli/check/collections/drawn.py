"""Boxes and masks that a collection brings, as one file that ``evaluate.annotations`` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnet_cli.core.files import write_csv, write_json
from isnet_cli.errors import IsnetError

COLUMNS = ("image", "class", "x", "y", "width", "height")
Box = tuple[float, float, float, float]
FINDING = "finding"  # category of masks that have no other


@dataclass(frozen=True)
class Drawn:
    """A finding in a film: a box, or runs of a mask.

    Attributes:
        file: As `Film.file`.
        label: What it is, as the label columns or classes call it.
        box: x, y, width, height, px of the original film.
        runs: Lengths of runs down the columns of the film, the first one of background.
        size: (height, width) of the mask that `runs` fill, px.
    """

    file: str
    label: str
    box: Box | None = None
    runs: tuple[int, ...] = ()
    size: tuple[int, int] = (0, 0)


def read_box(cells: Mapping[str, str], names: tuple[str, str, str, str]) -> Box | None:
    """Four numbers of a row; None where one is missing, as in rows without a finding.

    Args:
        cells: The row.
        names: Its four columns.
    """
    try:
        first, second, third, fourth = (float(cells[name]) for name in names)
    except (KeyError, ValueError):
        return None
    return first, second, third, fourth


def read_runs(code: str, size: tuple[int, int]) -> tuple[int, ...]:
    """Run lengths of SIIM-ACR (pairs of gap and run) with the background that follows the last.

    Args:
        code: Numbers with blanks between.
        size: (height, width) of the mask, px.

    Raises:
        IsnetError: Kind "data": no numbers, or more pixels than the mask has.
    """
    words = code.split()
    runs = [int(word) for word in words if word.isdigit()]
    rest = size[0] * size[1] - sum(runs)
    if len(runs) != len(words) or len(runs) % 2 or rest < 0:
        raise IsnetError(
            "data",
            f"run lengths '{code[:40]}': expected pairs of numbers of {size[0]} x {size[1]} pixels",
            fix="download the table again",
        )
    return (*runs, rest)


def write_drawn(stem: Path, drawn: Sequence[Drawn]) -> Path:
    """Writes boxes as a CSV, masks as a COCO file.

    Args:
        stem: The file without its ending.
        drawn: All of one kind; at least one.
    """
    if drawn[0].box is None:
        path = Path(f"{stem}.json")
        write_json(path, _make_coco(drawn))
        return path
    path = Path(f"{stem}.csv")
    rows = [
        dict(zip(COLUMNS, (one.file, one.label, *map(_number, one.box or ())), strict=True))
        for one in drawn
    ]
    write_csv(path, COLUMNS, rows)
    return path


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _make_coco(drawn: Sequence[Drawn]) -> dict[str, Any]:
    number = {file: i for i, file in enumerate(dict.fromkeys(one.file for one in drawn), 1)}
    kind = {name: i for i, name in enumerate(dict.fromkeys(one.label for one in drawn), 1)}
    size = {one.file: one.size for one in drawn}
    return {
        "images": [
            {"id": i, "file_name": file, "height": size[file][0], "width": size[file][1]}
            for file, i in number.items()
        ],
        "annotations": [
            {
                "id": i, "image_id": number[one.file], "category_id": kind[one.label],
                "segmentation": {"size": list(one.size), "counts": list(one.runs)},
            }
            for i, one in enumerate(drawn, 1)
        ],
        "categories": [{"id": i, "name": name or FINDING} for name, i in kind.items()],
    }  # fmt: skip
