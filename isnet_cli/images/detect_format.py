"""What a file is, by its first bytes and never by its name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

from isnet_cli.errors import UnreadableImage, explain_error
from isnet_cli.guard.opening import NotAFile, open_regular

Format = Literal["dicom", "png", "jpeg", "tiff"]

HEAD_BYTES = 512  # enough for the DICOM preamble (128 bytes), its prefix, and the tar magic
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")  # classic and BigTIFF, both byte orders
_FIRST_VRS = frozenset({b"UL", b"OB", b"UI", b"CS", b"SQ", b"DA", b"TM", b"DT", b"LO", b"SH"})
_FIRST_ELEMENTS = {
    0x0002: frozenset({0x0000, 0x0001, 0x0002, 0x0003, 0x0010}),
    0x0008: frozenset({0x0000, 0x0001, 0x0005, 0x0006, 0x0008, 0x0012, 0x0013, 0x0016, 0x0018}),
}
_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive; unpack it first"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it first"),
    (0, b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (0, b"Rar!", "a rar archive; unpack it first"),
    (257, b"ustar", "a tar archive; unpack it first"),
    (0, b"%PDF", "a PDF document"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"BM", "a BMP picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"NRRD", "an NRRD volume"),
    (344, b"n+1", "a NIfTI volume"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (4, b"jP  ", "a JPEG 2000 picture outside DICOM"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture outside DICOM"),
)


def detect_format(path: Path) -> Format | None:
    """Format of a file by content, or None when it is none that is read.

    Raises:
        OSError: The file cannot be opened.
    """
    with open_regular(path) as file:
        return detect_bytes(file.read(HEAD_BYTES))


def open_image(path: Path) -> tuple[Format, bytes]:
    """Opens a file that must be an image.

    Args:
        path: The file; its name does not matter.

    Returns:
        Its format, and its first `HEAD_BYTES` bytes.

    Raises:
        UnreadableImage: ``missing``, ``no_access``, ``not_a_file`` or ``not_image``.
    """
    try:
        with open_regular(path) as file:
            head = file.read(HEAD_BYTES)
    except (NotAFile, IsADirectoryError) as error:
        raise UnreadableImage("not_a_file", f"{error.strerror}, expected an X-ray file") from None
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableImage("missing", "no such file") from None
    except (OSError, ValueError) as error:
        raise UnreadableImage(
            "no_access", f"the file cannot be opened ({explain_error(error)})"
        ) from None
    kind = detect_bytes(head)
    if kind is None:
        words = f"{describe_content(head)}, expected DICOM, PNG, JPEG or TIFF"
        raise UnreadableImage("not_image", words)
    return kind, head


def detect_bytes(head: bytes) -> Format | None:
    """Format by the first `HEAD_BYTES` bytes of a file, or None.

    DICOM is recognised with its preamble (PS3.10 section 7.1: 128 bytes, then ``DICM``) and
    without, when the file begins with a data element of group 0002 or 0008. The preamble may
    hold another format's header on purpose (PS3.10 annex), so the DICOM prefix is checked first.
    """
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(_TIFF):
        return "tiff"
    return "dicom" if _bare_dicom(head) else None


def describe_content(head: bytes) -> str:
    """What a file that is not read seems to be, in a few words for a message."""
    if not head:
        return "an empty file"
    for offset, magic, words in _FOREIGN:
        if head[offset : offset + len(magic)] == magic:
            return words
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return "a text file"
    return "a file of unknown format"


def _bare_dicom(head: bytes) -> bool:
    """Whether `head` begins like a first data element (explicit or implicit VR)."""
    if len(head) < 8:
        return False
    for order in ("<", ">"):
        group, element, length = struct.unpack(f"{order}HHI", head[:8])
        if element in _FIRST_ELEMENTS.get(group, ()):
            if head[4:6] in _FIRST_VRS:
                return True
            if order == "<" and length <= 256 and length % 2 == 0:
                return True
    return False
