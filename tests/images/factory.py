"""PNG and TIFF files that Pillow itself cannot write, as bytes, for tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG_GREY, PNG_RGB, PNG_GREY_ALPHA = 0, 2, 4


def png_bytes(
    samples: NDArray[np.integer],
    bits: int,
    colour: int = PNG_GREY,
    chunks: tuple[tuple[bytes, bytes], ...] = (),
    size: tuple[int, int] | None = None,
) -> bytes:
    """A PNG of 1 to 16 bits per sample from [H, W] or [H, W, channels].

    Args:
        samples: Values below 2^bits.
        bits: Bit depth.
        colour: PNG colour type.
        chunks: Further (type, content) before the pixels.
        size: (height, width) to declare instead of the true one.
    """
    height, width = size or samples.shape[:2]
    flat = samples.reshape(samples.shape[0], -1)
    lines = b"".join(b"\0" + _packed(line, bits) for line in flat)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _packed(line: NDArray[np.integer], bits: int) -> bytes:
    if bits == 16:
        return line.astype(">u2").tobytes()
    if bits == 8:
        return line.astype(np.uint8).tobytes()
    single = (line[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(single.astype(np.uint8).reshape(-1)).tobytes()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def tiff_bytes(
    samples: NDArray[Any],
    *,
    bits: int,
    photometric: int = 1,
    sample_format: int = 1,
    order: str = "<",
) -> bytes:
    """An uncompressed grey TIFF of one strip from [H, W].

    Args:
        samples: Values of any type that fits.
        bits: 1, 8, 12, 16 or 32 per sample.
        photometric: 0 white is zero, 1 black is zero.
        sample_format: 1 unsigned, 2 signed, 3 float.
        order: Byte order.
    """
    height, width = samples.shape
    kind = {1: "u", 2: "i", 3: "f"}[sample_format]
    if bits in (1, 12):
        planes = (samples[:, :, None].astype(np.int64) >> np.arange(bits - 1, -1, -1)) & 1
        data = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    else:
        data = samples.astype(f"{order}{kind}{bits // 8}").tobytes()
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, len(data)),
        (339, 3, sample_format),
    ]
    packed = b"".join(_entry(order, *entry) for entry in entries)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    at = 8 + len(data) + len(data) % 2
    directory = struct.pack(f"{order}H", len(entries)) + packed + b"\0" * 4
    return mark + struct.pack(f"{order}I", at) + data + b"\0" * (len(data) % 2) + directory


def _entry(order: str, tag: int, kind: int, value: int) -> bytes:
    short = struct.pack(f"{order}HH", value, 0)
    return struct.pack(f"{order}HHI", tag, kind, 1) + (
        short if kind == 3 else struct.pack(f"{order}I", value)
    )


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    """Bytes of `image` as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()
