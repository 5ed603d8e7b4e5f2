"""The chain of directories of a TIFF file: what contradicts the format and libtiff passes over."""

from __future__ import annotations

import struct
from pathlib import Path

from isnet_cli.guard.opening import open_regular

_BIG = 43  # version of BigTIFF, with numbers of 8 bytes; the classic one is 42
MAX_ENTRIES = 4096  # of a directory; those of pictures have some dozens


def check_directories(path: Path, most: int) -> tuple[str, ...]:
    """Notes on a tag that a directory has twice, and on a chain of directories that is a loop.

    Of two entries readers take one or the other, and pages behind a loop are lost (TIFF 6.0,
    section 2: entries in ascending order of their tags).

    Args:
        path: A file that begins like a TIFF.
        most: Directories that are looked at.
    """
    notes: dict[str, None] = {}
    with open_regular(path) as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        try:
            big = struct.unpack(f"{order}H", head[2:4])[0] == _BIG
            count, offset, size = ("Q", "Q", 20) if big else ("H", "I", 12)
            start = 8 if big else 4
            (at,) = struct.unpack_from(f"{order}{offset}", head, start)
            seen: set[int] = set()
            while at and len(seen) < most:
                if at in seen:
                    notes["damaged: the directories of the TIFF file form a loop"] = None
                    break
                seen.add(at)
                file.seek(at)
                (entries,) = struct.unpack(f"{order}{count}", file.read(8 if big else 2))
                if entries > MAX_ENTRIES:
                    break
                body = file.read(entries * size)
                tags = [tag for tag, *_ in struct.iter_unpack(f"{order}H{size - 2}x", body)]
                if len(set(tags)) < len(tags):
                    notes["damaged: a tag of the TIFF file is there twice"] = None
                (at,) = struct.unpack(f"{order}{offset}", file.read(8 if big else 4))
        except (struct.error, OverflowError, OSError):
            pass  # its decoder has a word on that
    return tuple(notes)
