"""What a report is made of: sections of texts, tables, pictures; data only, no markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Tone = Literal["info", "warning", "empty"]


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Notice:
    """A paragraph that stands out: something to know, to heed, or why there is nothing."""

    kind: ClassVar[str] = "notice"
    text: str
    tone: Tone = "info"


@dataclass(frozen=True)
class Table:
    """Rows of text cells.

    Attributes:
        columns: Heads.
        rows: Cells, as many as heads.
        caption: One line above.
        numbers_from: First column of figures, set to the right; columns before it are names.
        notes: Lines below, such as why a cell is empty.
        groups: Heads above the heads: (words, number of columns); they cover all columns.
        sources: Files that the figures were read from, as in `Section`.

    A cell of figures such as ``0.81 [0.75, 0.87]`` is shown with its interval on a line below.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers_from: int = 1
    notes: Sequence[str] = ()
    groups: Sequence[tuple[str, int]] = ()
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """One picture as a ``data:`` address.

    Attributes:
        uri: Address; nothing else is ever loaded.
        alt: What it shows, for those who cannot see it.
        caption: One line below.
        photo: True for images, false for drawings with letters of their own.
        head: A word above the caption, such as the run.
        width: Width in px up to which a drawing grows; 0 for any.
        sources: Files that it was made from, as in `Section`.
    """

    kind: ClassVar[str] = "picture"
    uri: str
    alt: str
    caption: str = ""
    photo: bool = False
    head: str = ""
    width: int = 0
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Grid:
    """Pictures side by side where there is room, each at least `least` px wide.

    Attributes:
        pictures: From left to right.
        least: Width, px.
        title: One line above.
        note: One line below the title.
        sources: Files that all of them were made from, as in `Section`.
    """

    kind: ClassVar[str] = "grid"
    pictures: Sequence[Picture]
    least: int = 320
    title: str = ""
    note: str = ""
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Columns:
    """Grids in two columns where there is room, each with its own title.

    Attributes:
        title: One line above all.
        grids: From left to right, row by row.
        note: One line below the title.
        sources: Files that all of them were made from, as in `Section`.
    """

    kind: ClassVar[str] = "columns"
    title: str
    grids: Sequence[Grid]
    note: str = ""
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Step:
    """One box of a flow and what left it afterwards.

    Attributes:
        count: How many.
        label: What they are.
        lost: Those that do not reach the next box: (reason, count).
    """

    count: int
    label: str
    lost: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class Flow:
    """Boxes from top to bottom, the lost beside them; `sources` as in `Section`."""

    kind: ClassVar[str] = "flow"
    steps: Sequence[Step]
    title: str = ""
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class GalleryRow:
    """One image, seen by each model.

    Attributes:
        title: The image's key and label.
        cells: One picture for each model, None where there is none.
    """

    title: str
    cells: Sequence[Picture | None]


@dataclass(frozen=True)
class Gallery:
    """Images as cards, models side by side in each card.

    Attributes:
        columns: Number of models.
        rows: Images.
        title: One line above.
    """

    kind: ClassVar[str] = "gallery"
    columns: int
    rows: Sequence[GalleryRow]
    title: str = ""


@dataclass(frozen=True)
class Code:
    """Text in a fixed-width font, folded under its title."""

    kind: ClassVar[str] = "code"
    text: str
    title: str


@dataclass(frozen=True)
class Fold:
    """A table that is shown on request, under its title."""

    kind: ClassVar[str] = "fold"
    title: str
    table: Table


Block = Text | Notice | Table | Picture | Grid | Columns | Flow | Gallery | Code | Fold


@dataclass(frozen=True)
class Section:
    """One heading with its blocks.

    Attributes:
        name: Anchor: lower-case letters and hyphens.
        title: Heading.
        blocks: Contents from top to bottom.
        sources: Files that the section was made from, relative to their run folder.
    """

    name: str
    title: str
    blocks: Sequence[Block]
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: Heading of the page.
        subtitle: One line below it.
        facts: Short facts beside the heading: (name, value).
        sections: In order.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)
