"""Names of temporary files, and the removal of those that a dead process left behind.

A temporary file lies beside the file that it becomes, never outside the output folder. Its name
says which process made it, on which machine, so that the next start can tell a leftover from the
work of another process that is still alive.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
from functools import lru_cache
from pathlib import Path

_OWNER = r"(?P<pid>\d{1,9})(-(?P<host>[0-9a-f]{6})(?P<mark>[0-9a-f]{4}))?"  # weights: the former
_NAME = re.compile(rf"\..*\.{_OWNER}\.tmp(\.[^./]+)?", re.DOTALL)
_PREFIX = "isnet-"  # of folders in the system's place for temporary files
_OUTSIDE = re.compile(rf"{_PREFIX}{_OWNER}-.*")
_MARK = os.urandom(2).hex()  # tells this process from an earlier one of the same number
LONGEST = 180  # bytes of a name that is kept; file systems allow 255


@lru_cache(maxsize=1)
def _host() -> str:
    """Six characters for this machine: process numbers mean something on one machine only."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _owner() -> str:
    return f"{os.getpid()}-{_host()}{_MARK}"


def name_temporary(path: Path) -> Path:
    """The temporary name of a file: beside it, hidden, with its suffix."""
    stem = path.stem
    if len(os.fsencode(path.name)) > LONGEST:
        stem = hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(f".{stem}.{_owner()}.tmp{path.suffix}")


def is_temporary(name: str) -> bool:
    """Whether a file has a name as `name_temporary` gives it, whoever made it."""
    return _NAME.fullmatch(name) is not None


def name_folder_prefix() -> str:
    """How the name of a temporary folder outside of all output folders begins; it holds no data."""
    return f"{_PREFIX}{_owner()}-"


def clear_leftovers(folder: Path, *, locked: bool = False, deep: bool = True) -> int:
    """Removes the temporary files of processes that have ended.

    Args:
        folder: An output folder; may be missing.
        locked: Whether this process holds the folder's lock: then files of other machines, whose
            processes cannot be asked for, are leftovers too.
        deep: Also in its subfolders.

    Returns:
        How many were removed.
    """
    removed = 0
    for top, folders, names in os.walk(folder):
        for name in [*names, *folders]:
            found = _NAME.fullmatch(name)
            if found and _is_dead(found, foreign=locked) and _remove(Path(top, name)):
                removed += 1
        if not deep:
            break
    return removed


def clear_outside(folder: Path) -> int:
    """Removes temporary folders named by `name_folder_prefix` whose processes have ended."""
    try:
        names = os.listdir(folder)
    except OSError:
        return 0
    found = [(name, _OUTSIDE.fullmatch(name)) for name in names if name.startswith(_PREFIX)]
    return sum(
        _remove(folder / name) for name, match in found if match and _is_dead(match, foreign=False)
    )


def _is_dead(found: re.Match[str], *, foreign: bool) -> bool:
    if found["host"] not in (None, _host()):
        return foreign
    number = int(found["pid"])
    if number == os.getpid():  # as in a container, where every start has the same number
        return found["mark"] not in (None, _MARK)
    if os.name == "nt":  # there, the question would end the process
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:  # alive, and another user's
        return False
    return _is_collected_late(number)


def _is_collected_late(number: int) -> bool:
    """Whether a process has ended and only its parent was not told yet."""
    try:
        status = Path(f"/proc/{number}/stat").read_bytes()
    except OSError:
        return False
    return status.rpartition(b")")[2].split()[:1] == [b"Z"]


def _remove(path: Path) -> bool:
    """Removes a file or a folder, never what a link leads to."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
        return True
    return False
