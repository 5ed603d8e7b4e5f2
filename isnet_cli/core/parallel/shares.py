"""A part of a stage's images for one of several commands or processes: every so many chunks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from isnet_cli.errors import IsnetError

_NAME = re.compile(r"(\d{1,6})of(\d{1,6})")


@dataclass(frozen=True)
class Share:
    """Chunks index, index + count, index + 2·count, ... of a stage.

    Attributes:
        index: From 0.
        count: Number of shares; 1: everything.
    """

    index: int = 0
    count: int = 1

    @property
    def whole(self) -> bool:
        """Whether it is everything."""
        return self.count == 1

    @property
    def name(self) -> str:
        """For names of files: ``2of4``, counted from 1."""
        return f"{self.index + 1}of{self.count}"

    def owns(self, number: int) -> bool:
        """Whether chunk `number`, from 0, belongs to it."""
        return number % self.count == self.index


WHOLE = Share()


def read_share(text: str) -> Share:
    """A share as it is typed: ``2/4``.

    Raises:
        IsnetError: Kind "usage".
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise IsnetError("usage", f"--shard {text}: expected I/N with 1 <= I <= N, as 2/4")
    return Share(index - 1, count)


def parse_name(name: str) -> Share | None:
    """The share that `Share.name` named; None for another text."""
    found = _NAME.fullmatch(name)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        return None
    return Share(int(found[1]) - 1, int(found[2]))
