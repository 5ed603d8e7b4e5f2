"""A file whose header may take so many reads and so much time, whatever library reads it.

Parsers of headers loop over what a file claims to hold: a file of some megabytes can name a
million empty elements, each of which becomes an object a hundred times as large.
"""

from __future__ import annotations

import time
from typing import Any, BinaryIO

from isnet_cli.errors import UnreadableImage


class MeteredFile:
    """A binary file that counts reads until the pixels are reached.

    Args:
        file: The file; closed with this one.
        reads: How many reads the header may take.
        seconds: How long it may take.
    """

    def __init__(self, file: BinaryIO, reads: int, seconds: float) -> None:
        self._file, self._reads = file, reads
        self._limits = reads, seconds
        self._until = time.monotonic() + seconds
        self._counting = True
        self.fault: UnreadableImage | None = None  # libraries raise others in its place

    def count_no_more(self) -> None:
        """The header has been read: what follows is limited by its size."""
        self._counting = False

    def read(self, size: int = -1, /) -> bytes:
        """Reads as the file itself does.

        Raises:
            UnreadableImage: ``too_large`` or ``too_slow``: the header holds more than is read.
        """
        if self._counting:
            self._reads -= 1
            if self._reads < 0:
                self.fault = UnreadableImage(
                    "too_large",
                    f"a header of more than {self._limits[0]} parts (limits.elements)",
                )
            elif time.monotonic() > self._until:
                self.fault = UnreadableImage(
                    "too_slow",
                    f"its header takes more than {self._limits[1]:g} s to read (limits.seconds)",
                )
            if self.fault is not None:
                raise self.fault
        return self._file.read(size)

    def __enter__(self) -> MeteredFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        if name == "name":  # a library that knows the path may open it anew
            raise AttributeError(name)
        return getattr(self._file, name)
