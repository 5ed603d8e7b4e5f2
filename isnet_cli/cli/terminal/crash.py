"""What is reported about an unexpected error: where it happened, never with which data."""

from __future__ import annotations

import errno
import platform
import sys
import traceback
from pathlib import Path

from isnet_cli.errors import IsnetError

CRASH = "crash.txt"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def explain_machine_fault(error: BaseException) -> IsnetError | None:
    """The machine's part in an error (memory, disk, permissions), or None when it is our bug."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return IsnetError(
            "machine",
            "disk full; finished files are intact",
            fix="free space, then the same command continues",
        )
    if isinstance(error, OSError) and error.errno in _CLOSED:
        return IsnetError(
            "machine",
            f"{error.filename or 'a file'}: {(error.strerror or 'no access').lower()}",
            fix="check the rights of the folder, or choose another with -o",
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _memory()
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return _memory()
    return None


def describe(error: BaseException) -> str:
    """Type and place of an error: files and lines of code, no message text, no values.

    Messages of foreign libraries may quote file names or values of an input, so none is kept.
    """
    lines = [
        f"isnet: unexpected error on Python {platform.python_version()}, {platform.system()}",
        "",
    ]
    current: BaseException | None = error
    while current is not None:
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}")
        frames = traceback.extract_tb(current.__traceback__)
        lines += [f"  {_code_path(f.filename)}:{f.lineno} in {f.name}" for f in frames]
        current = current.__cause__ or current.__context__
        if current is not None:
            lines += ["", "while handling"]
    return "\n".join(lines) + "\n"


def write_crash_file(folder: Path | None, error: BaseException) -> Path | None:
    """Writes `describe` as ``crash.txt`` into an existing run folder; None when that fails."""
    if folder is None or not folder.is_dir():
        return None
    path = folder / CRASH
    try:
        path.write_text(describe(error), encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    return path


def _memory() -> IsnetError:
    return IsnetError(
        "machine",
        "out of memory",
        fix="a smaller train.batch_size or model.input; the same command continues",
    )


def _code_path(name: str) -> str:
    """Path of a code file relative to where Python found it, so that it names no user's folder."""
    path = Path(name)
    roots = sorted((Path(root) for root in sys.path if root), key=lambda r: -len(r.parts))
    for root in roots:
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name
