"""What is reported about an unexpected error: where it happened, never with which data."""

from __future__ import annotations

import errno
import os
import platform
import sys
import traceback
from pathlib import Path

from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import NotAFile, TooManyBytes

CRASH = "crash.txt"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_BROKEN = {  # of the disk, the network behind it, or the system
    *(errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN),
    *(errno.EMFILE, errno.ENFILE, errno.EBUSY, errno.EAGAIN, errno.ENOLCK, errno.ENAMETOOLONG),
}
_TORCH_CANNOT_WRITE = ("PytorchStreamWriter failed", "unexpected pos", "iostream error")


def explain_machine_fault(error: BaseException, folder: Path | None = None) -> IsnetError | None:
    """The machine's part in an error (memory, disk, permissions), or None when it is our bug.

    Args:
        error: The error.
        folder: The run folder, where there is one.
    """
    if isinstance(error, (NotAFile, TooManyBytes)):
        return IsnetError(
            "data",
            f"{_where(error)}: {error.strerror}, expected a file",
            fix="remove it, or name another file",
        )
    if isinstance(error, OSError):
        return _explain_system(error, folder)
    text = str(error) if isinstance(error, RuntimeError) else ""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _memory()
    if "can't allocate memory" in text:
        return _memory()
    if any(words in text for words in _TORCH_CANNOT_WRITE):
        return _full() if folder is None or folder.is_dir() else _removed(folder)
    return None


def _explain_system(error: OSError, folder: Path | None) -> IsnetError | None:
    if error.errno in _FULL:
        return _full()
    if error.errno in _CLOSED:
        return IsnetError(
            "machine",
            f"{_where(error)}: {(error.strerror or 'no access').lower()}",
            fix="check the rights of the folder, or choose another with -o",
        )
    if error.errno in _BROKEN:
        return IsnetError(
            "machine",
            f"{_where(error)}: {(error.strerror or 'input/output error').lower()}",
            fix="see to the disk or the system, then the same command continues",
        )
    return _missing_folder(error, folder)


def _full() -> IsnetError:
    return IsnetError(
        "machine",
        "disk full, or the file is larger than this system allows; finished files are intact",
        fix="free space, then the same command continues",
    )


def _where(error: OSError) -> str:
    return os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else "a file"


def _removed(folder: Path) -> IsnetError:
    return IsnetError(
        "machine",
        f"{folder}: the run folder cannot be made, or was removed while the command worked",
        fix="choose another with -o, or start the same command again",
    )


def _missing_folder(error: OSError, folder: Path | None) -> IsnetError | None:
    """A folder that everything needs and that is not there: of the run, the process, or temporary.

    Python says so of temporary folders in words alone.
    """
    if folder is not None and not folder.exists():
        return _removed(folder)
    try:
        os.getcwd()
    except OSError:
        return IsnetError(
            "machine", "the working folder does not exist any more", fix="cd to another folder"
        )
    if "No usable temporary directory" in str(error) or "writable cache directory" in str(error):
        return IsnetError(
            "machine",
            "no folder for temporary files can be written, expected TMPDIR or /tmp",
            fix="TMPDIR=DIR isnet ...   with a folder that you may write to",
        )
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
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
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
    except (OSError, ValueError, RecursionError):
        return None
    return path


def format_trace(error: BaseException) -> str:
    """Where an error arose, with the lines of code, without its texts, which may quote an input."""
    lines = ["Traceback (texts are left out: they may quote the input)"]
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        for frame in traceback.extract_tb(current.__traceback__):
            lines.append(f"  {_code_path(frame.filename)}:{frame.lineno} in {frame.name}")
            lines += [f"    {frame.line}"] if frame.line else []
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}")
        current = current.__cause__ or current.__context__
        lines += ["while handling"] if current is not None else []
    return "\n".join(lines)


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
