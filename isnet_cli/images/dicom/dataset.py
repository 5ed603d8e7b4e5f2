"""Opens DICOM files for everything that reads them: nothing is held beyond the limits."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from isnet_cli.config.schema import Limits
from isnet_cli.errors import UnreadableImage
from isnet_cli.guard.metered import MeteredFile
from isnet_cli.guard.opening import TooManyBytes, format_bytes, open_regular

DEFLATED = "1.2.840.10008.1.2.1.99"
HEADER_BYTES = 4_000_000  # inflated to find what stands before the pixels
LONG_VALUE = 65_536  # bytes: a longer value of a header is left where it is
_BLOCK = 1 << 20
_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}  # float, double and integer pixel data


def open_dataset(path: Path, limits: Limits | None = None, *, header: bool = False) -> Any:
    """The data set of a file, with or without preamble and file meta information.

    Args:
        path: The file.
        limits: What it may be; None: the defaults.
        header: What stands before the pixels alone; longer values are left out.

    Returns:
        pydicom's data set, with its file meta information.

    Raises:
        UnreadableImage: ``too_large``, ``too_slow`` or ``truncated``.
        OSError: The file cannot be opened.
        Exception: Whatever pydicom raises on a damaged file.
    """
    limits = limits or Limits()
    try:
        opened = open_regular(path, limits.file_bytes)
    except TooManyBytes as error:
        raise UnreadableImage("too_large", f"a file {error.strerror} (limits.file_mb)") from None
    with MeteredFile(opened, limits.elements, limits.seconds) as file:
        return _read(file, limits, header)


def _read(metered: MeteredFile, limits: Limits, header: bool) -> Any:
    from pydicom import filereader

    file = cast(BinaryIO, metered)
    with _own_faults(metered):
        # the library's own steps: whatever it takes for the end of the meta information counts
        filereader.read_preamble(file, force=True)
        meta = filereader._read_file_meta_info(file)
    if meta.get("TransferSyntaxUID") == DEFLATED:
        inflated, whole = _inflate(file, limits, header)
        with MeteredFile(inflated, limits.elements, limits.seconds) as content:
            ds = _read_inflated(content, header)
        if header and not whole and "Rows" not in ds:
            raise EOFError  # more stands before the pixels than was inflated
        ds.file_meta = meta
        return ds
    file.seek(0)
    with _own_faults(metered):
        longest = LONG_VALUE if header else None
        ds = filereader.dcmread(file, force=True, stop_before_pixels=header, defer_size=longest)
    if not header and not len(ds):  # the library drops all of it when its end is missing
        raise UnreadableImage("truncated", "the data set ends in the middle of an element")
    return ds


@contextlib.contextmanager
def _own_faults(file: MeteredFile) -> Iterator[None]:
    """Raises the fault that ended the reading, whatever the library made of it."""
    try:
        yield
    except RecursionError:
        raise UnreadableImage("too_large", "its sequences are nested too deeply") from None
    except Exception:
        if file.fault is not None:
            raise file.fault from None
        raise


def _read_inflated(content: MeteredFile, header: bool) -> Any:
    from pydicom import filereader

    with _own_faults(content):
        return filereader.read_dataset(
            cast(BinaryIO, content),
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=(lambda tag, vr, length: int(tag) in _PIXELS) if header else None,
            defer_size=LONG_VALUE if header else None,
        )


def _inflate(file: BinaryIO, limits: Limits, header: bool) -> tuple[BinaryIO, bool]:
    """A deflated data set, in full or its beginning, and whether that is all of it."""
    most = min(HEADER_BYTES, limits.file_bytes) if header else limits.file_bytes
    inflater, found = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO()
    while not inflater.eof:
        block = inflater.unconsumed_tail or file.read(_BLOCK)
        if not block:
            break
        found.write(inflater.decompress(block, max(1, min(_BLOCK, most + 1 - found.tell()))))
        if found.tell() > most:
            if header:
                break
            raise UnreadableImage(
                "too_large", f"inflates to more than {format_bytes(most)} (limits.file_mb)"
            )
    if not header and not inflater.eof:
        raise UnreadableImage("truncated", "the deflated data set ends before its end")
    found.seek(0)
    return found, inflater.eof
