"""What ``heatmap/check/check.json`` has to hold, to the last figure that a page reads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from isnet_cli.core.records.metrics import Cell, Figure
from isnet_cli.core.records.read import Record
from isnet_cli.core.records.schemas import Count, Number


class CheckCell(Cell):
    """A mean over images."""

    n: Count


class Similarity(Record):
    """How alike maps are."""

    rank: CheckCell
    ssim: CheckCell


class Group(Record):
    """Layers whose weights were shuffled."""

    modules: list[str]
    cascading: Similarity
    independent: Similarity


class Randomisation(Record):
    """Maps of networks with shuffled weights."""

    groups: Annotated[list[Group], Field(min_length=1)]
    other_images: Similarity
    limit: Number
    verdict: Literal["change", "stay", "unclear"]


class Curve(Record):
    """Mean over images of one curve in one order."""

    mean: list[Number] | None
    area: CheckCell


class Orders(Record):
    """A curve in each order."""

    map: Curve
    random: Curve
    lungs: Curve


class Gains(Record):
    """Areas of the map's order compared with those of the others."""

    random: CheckCell
    lungs: CheckCell


class BothGains(Record):
    """For each curve."""

    deletion: Gains
    insertion: Gains


class Curves(Record):
    """Deletion and insertion."""

    share: list[Figure]
    fill: str
    deletion: Orders
    insertion: Orders
    differences: BothGains
    verdict: Literal["better", "worse", "unclear"]


class MapCheck(Record):
    """``check.json``."""

    method: str
    images: Count
    randomisation: Randomisation
    curves: Curves
    caveats: list[str]
