"""What Pillow does not do: unusual TIFF layouts, rare JPEG, checksums, warnings of decoders."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isnet_cli.config.schema import Limits
from isnet_cli.errors import UnreadableImage
from isnet_cli.guard.opening import open_regular
from isnet_cli.guard.sizes import check_pixels
from isnet_cli.images.dicom.code_streams import StreamHeader, decode_stream, read_stream_header

_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _FORMAT, _EXTRA = 258, 262, 277, 284, 339, 338
_TURNS = {  # EXIF orientation to what makes it upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_HEAD = 8  # bytes of its signature


def read_whole(path: Path, limits: Limits) -> bytes:
    """The bytes of a file within the limits."""
    with open_regular(path, limits.file_bytes) as file:
        return file.read()


def check_png(content: bytes) -> tuple[str, ...]:
    """Notes on a PNG whose checksums or end are wrong; Pillow does not look at those of pixels."""
    import imagecodecs  # its checksum takes a tenth of the time of zlib's

    view, at, wrong, ended = memoryview(content), PNG_HEAD, 0, False
    while at + 12 <= len(content) and not ended:
        (size,) = struct.unpack(">I", view[at : at + 4])
        if at + 12 + size > len(content):
            break
        body = content[at + 4 : at + 8 + size]
        (stated,) = struct.unpack(">I", view[at + 8 + size : at + 12 + size])
        wrong += imagecodecs.deflate_crc32(body) != stated
        ended = body[:4] == b"IEND"
        at += 12 + size
    notes = []
    if wrong:
        notes.append("damaged: a checksum is wrong (PNG)")
    if not ended:
        notes.append("damaged: the PNG file has no end")
    elif at < len(content):
        notes.append("more bytes after the end of the PNG file")
    return tuple(notes)


def decode_jpeg(content: bytes, orientation: int) -> tuple[Any, tuple[str, ...]]:
    """A JPEG picture of 8 bits, grey or in colour, and the decoder's doubts.

    Args:
        content: The file.
        orientation: Of its EXIF data, 1 when there are none.

    Returns:
        An upright Pillow image of mode L or RGB, and notes.
    """
    array, notes = decode_stream(content, read_stream_header(content))
    image = Image.fromarray(array)
    turn = _TURNS.get(orientation)
    return (image if turn is None else image.transpose(turn)), notes


def decode_rare_jpeg(
    content: bytes, limits: Limits
) -> tuple[NDArray[Any], StreamHeader, tuple[str, ...]] | None:
    """JPEG of more than 8 bits, lossless JPEG and JPEG-LS; None for what Pillow reads.

    Raises:
        UnreadableImage: It is none of them either, or is damaged.
    """
    header = read_stream_header(content)
    if header.kind == "JPEG" and header.precision == 8 and header.marker in (0xC0, 0xC1, 0xC2):
        return None
    if header.samples not in (1, 3) or not 2 <= header.precision <= 16:
        raise UnreadableImage(
            "depth", f"{header.kind} of {header.samples} channels of {header.precision} bits"
        )
    check_pixels(header.columns, header.rows, header.samples, 10, limits)
    array, notes = decode_stream(content, header)
    return array, header, notes


def is_unusual_tiff(image: Any) -> bool:
    """Whether a page's layout is one that Pillow does not decode faithfully.

    Pillow takes 16-bit colour in planes for bytes, reduces 16-bit colour to 8 bits, and does not
    look whether all channels have the same depth and format.
    """
    bits, formats = _read_tuple(image, _BITS, 1), _read_tuple(image, _FORMAT, 1)
    if int(_read_tuple(image, _SAMPLES, 1)[0]) == 1 and len(bits) == 1:
        return False
    return set(bits) != {8} or bool(set(formats) - {1, 4})


def decode_unusual_tiff(content: bytes, page: int, image: Any) -> NDArray[Any]:
    """The samples of one page of any layout, [H, W] or [H, W, channels], by libtiff.

    Raises:
        UnreadableImage: ``depth`` where the result is not what the tags declare.
    """
    import imagecodecs

    samples = int(_read_tuple(image, _SAMPLES, 1)[0])
    bits = sorted({int(value) for value in _read_tuple(image, _BITS, 1)})
    words = f"a TIFF of {samples} channels of {' and '.join(map(str, bits))} bits"
    if len(bits) != 1 or samples not in (1, 2, 3, 4):
        raise UnreadableImage("depth", f"{words}, expected one depth and 1 to 4 channels")
    try:
        array = np.asarray(imagecodecs.tiff_decode(content, page))
    except Exception:
        raise UnreadableImage("depth", f"{words} in a layout that is not read") from None
    if samples > 1 and int(_read_tuple(image, _PLANAR, 1)[0]) == 2 and array.ndim == 3:
        array = np.moveaxis(array, 0, -1)
    shape = (image.height, image.width) + ((samples,) if samples > 1 else ())
    if array.shape != shape or array.dtype.itemsize * 8 != max(8, bits[0]):
        raise UnreadableImage("depth", f"{words}: the decoder gives another size or depth")
    return array


class FirstPage:
    """The first page of a classic TIFF that Pillow does not open, with the tags read from here."""

    def __init__(self, content: bytes) -> None:
        order = "<" if content[:2] == b"II" else ">"
        self.tag_v2: dict[int, tuple[int, ...]] = {}
        try:
            magic, at = struct.unpack(f"{order}HI", content[2:8])
            (count,) = struct.unpack(f"{order}H", content[at : at + 2])
            for start in range(at + 2, at + 2 + 12 * count if magic == 42 else 0, 12):
                tag, kind, number = struct.unpack(f"{order}HHI", content[start : start + 8])
                letter = {3: "H", 4: "I"}.get(kind, "")
                if letter and number <= 8:
                    size = struct.calcsize(f"{order}{number}{letter}")
                    (far,) = struct.unpack(f"{order}I", content[start + 8 : start + 12])
                    place = start + 8 if size <= 4 else far
                    values = struct.unpack(
                        f"{order}{number}{letter}", content[place : place + size]
                    )
                    self.tag_v2[tag] = values
        except struct.error:
            self.tag_v2 = {}
        self.width, self.height = (self.tag_v2.get(tag, (0,))[0] for tag in (256, 257))

    def tell(self) -> int:
        """Number of the page."""
        return 0


def turn_array(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """[H, W, ...] turned upright by its EXIF orientation."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array[::-1] if orientation in (3, 4, 7, 8) else array


def _read_tuple(image: Any, tag: int, default: int) -> tuple[Any, ...]:
    value = getattr(image, "tag_v2", {}).get(tag, default)
    return value if isinstance(value, tuple) else (value,)
