"""Opens what a user or a folder names: regular files alone, and never more bytes than allowed.

Everything that is read goes through here. A pipe, a socket or a device is refused before it is
opened: a pipe without a writer would wait for ever, and some devices act on being opened.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

TEXT_BYTES = 256 << 20  # of texts and tables that nothing else limits
JSON_BYTES = 1 << 30  # memory that a JSON document may take once it is read
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# bytes that the parts of a JSON document take at most: object, list, and any value with its place
_OBJECT, _LIST, _VALUE = 240, 88, 40


class NotAFile(OSError):  # noqa: N818 - as Python's own IsADirectoryError
    """A pipe, a socket, a device, or a link that leads nowhere."""


class TooManyBytes(OSError):  # noqa: N818
    """A file that is larger than what is read of its kind."""


def check_regular(path: str | Path) -> os.stat_result:
    """Makes sure that a path leads to a regular file; opens nothing.

    Returns:
        Its status.

    Raises:
        NotAFile: It is something else; ``strerror`` says what, in words for a message.
        IsADirectoryError: It is a folder.
        OSError: It does not exist, or may not be looked at.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotAFile(errno.ELOOP, "a link that leads to itself", str(path)) from None
        if error.errno == errno.ENOENT and os.path.islink(path):
            raise NotAFile(errno.ENXIO, "a link to nothing", str(path)) from None
        raise
    _check_mode(status, path)
    return status


def _check_mode(status: os.stat_result, path: str | Path) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    what = next((words for test, words in _KINDS if test(status.st_mode)), "no regular file")
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, what, str(path))
    raise NotAFile(errno.ENXIO, what, str(path))


def open_regular(path: str | Path, limit: int | None = None) -> BinaryIO:
    """Opens a regular file for reading.

    It is looked at before it is opened and again after, and opened so that nothing waits: another
    program may put a pipe in its place meanwhile.

    Args:
        path: The file; links are followed.
        limit: Bytes that it may have; None: any number.

    Raises:
        NotAFile: As `check_regular`.
        TooManyBytes: It is larger than `limit`.
        OSError: It cannot be opened.
    """
    check_regular(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        status = os.fstat(handle)
        _check_mode(status, path)
        if limit is not None and status.st_size > limit:
            raise _too_many(path, limit)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _too_many(path: str | Path, limit: int) -> TooManyBytes:
    return TooManyBytes(errno.EFBIG, f"larger than {format_bytes(limit)}", str(path))


def format_bytes(count: int) -> str:
    """A number of bytes: ``512 bytes``, ``64 MB``."""
    return f"{count} bytes" if count < 1_000_000 else f"{round(count / 1e6)} MB"


def open_text(
    path: str | Path,
    encoding: str = "utf-8",
    *,
    errors: str = "strict",
    newline: str | None = None,
    limit: int | None = TEXT_BYTES,
) -> io.TextIOWrapper:
    """A regular file as text, to be read line by line; raises as `open_regular`."""
    return io.TextIOWrapper(
        open_regular(path, limit), encoding=encoding, errors=errors, newline=newline
    )


def read_bytes(path: str | Path, limit: int | None = TEXT_BYTES) -> bytes:
    """The content of a regular file of at most `limit` bytes; raises as `open_regular`."""
    with open_regular(path, limit) as file:
        content = file.read() if limit is None else file.read(limit + 1)  # it may grow meanwhile
    if limit is not None and len(content) > limit:
        raise _too_many(path, limit)
    return content


def read_text(
    path: str | Path,
    encoding: str = "utf-8",
    *,
    errors: str = "strict",
    limit: int | None = TEXT_BYTES,
) -> str:
    """The text of a regular file, with Unix line ends.

    Raises:
        OSError: As `open_regular`.
        UnicodeDecodeError: It is not text of that encoding.
    """
    with open_text(path, encoding, errors=errors, limit=limit) as file:
        return file.read()


def open_archive(path: str | Path, most: int = JSON_BYTES) -> BinaryIO:
    """Opens a zip file (``.npz``, a checkpoint) whose parts take at most `most` bytes unpacked.

    Raises:
        OSError: As `open_regular`.
        ValueError: It is no zip file, or its parts would take more.
    """
    import zipfile  # every command imports this module, few need that one

    file = open_regular(path)
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > most:
            raise ValueError(f"unpacks to {format_bytes(size)}, at most {format_bytes(most)}")
        file.seek(0)
        return file
    except zipfile.BadZipFile:
        file.close()
        raise ValueError("not a zip archive") from None
    except BaseException:
        file.close()
        raise


def read_json(path: str | Path, *, memory: int = JSON_BYTES, **options: Any) -> Any:
    """The content of a JSON file.

    Args:
        path: The file.
        memory: Bytes that the content may take once it is read, estimated before it is.
        **options: Of `json.loads`.

    Raises:
        OSError: As `open_regular`.
        ValueError: It is not JSON, nested too deeply, or would take more memory.
    """
    return parse_json(read_bytes(path), memory=memory, **options)


def parse_json(content: bytes, *, memory: int = JSON_BYTES, **options: Any) -> Any:
    """The content of a JSON document; raises `ValueError` as `read_json`."""
    needed = (
        2 * len(content)
        + _OBJECT * content.count(b"{")
        + _LIST * content.count(b"[")
        + _VALUE * content.count(b",")
    )
    if needed > memory:
        raise ValueError(
            f"would take {format_bytes(needed)} of memory, at most {format_bytes(memory)} are used"
        )
    try:
        return json.loads(content.decode("utf-8-sig"), **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None
