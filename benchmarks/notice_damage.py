"""How much damage of pixel data is noticed, format by format.

Usage:
    python benchmarks/notice_damage.py [--mutants 200] [--side 128] [--only lossless]

A synthetic image is written in each format. In each mutant one byte of the second to last fifth of
the file, where the pixels are, gets another value. A mutant is refused, or read; what is read is
*far* when more than one pixel in a thousand is off by more than a tenth of the sound image's range,
and *noted* when the image has a note that the sound file's has not.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGExtended12Bit, JPEGLosslessSV1
from read_images import BITS, WRITERS, by_imagecodecs, by_pillow, image_levels, native

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.read import read_images

Levels = NDArray[np.uint16]
START = 0.2  # of the file: headers and tables end before


def deflated(path: Path, levels: Levels) -> None:
    native(path, levels)
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)


def baseline(path: Path, levels: Levels) -> None:
    encode = imagecodecs.jpeg8_encode
    by_imagecodecs(lambda x: encode((x >> 4).astype(np.uint8), level=90), "1.2.840.10008.1.2.4.50")(
        path, levels
    )
    ds = pydicom.dcmread(path)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    del ds.WindowCenter, ds.WindowWidth
    ds.save_as(path, enforce_file_format=True)


def turbo_lossless(levels: Levels) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(levels, lossless=True, bitspersample=BITS))


def extended(levels: Levels) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(levels, level=95, bitspersample=BITS))


def tiff(compression: str, bits: int = 16) -> Callable[[Path, Levels], None]:
    return by_pillow("TIFF", bits, compression=compression)


FORMATS: dict[str, Callable[[Path, Levels], None]] = {
    **WRITERS,
    "dicom JPEG lossless 2": by_imagecodecs(turbo_lossless, JPEGLosslessSV1),
    "dicom JPEG 12 bit": by_imagecodecs(extended, JPEGExtended12Bit),
    "dicom JPEG 8 bit": baseline,
    "dicom deflated": deflated,
    "jpeg progressive": by_pillow("JPEG", 8, quality=90, progressive=True),
    "jpeg restart": by_pillow("JPEG", 8, quality=90, restart_marker_blocks=8),
    "tiff lzw": tiff("tiff_lzw"),
    "tiff deflate": tiff("tiff_adobe_deflate"),
    "tiff packbits": tiff("packbits"),
    "tiff jpeg": tiff("jpeg", 8),
}


def try_mutants(path: Path, count: int) -> tuple[int, int, int, int]:
    """How many of `count` mutants of a file are refused, read, far, and far with a note."""
    content = path.read_bytes()
    (sound,) = read_images(path)
    rng = np.random.default_rng(0)
    limit = 0.1 * float(np.ptp(sound.pixels))
    refused = far = noted = 0
    for _ in range(count):
        data = bytearray(content)
        at = int(rng.integers(int(START * len(data)), len(data) - 2))
        data[at] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            found = read_images(path)[0]
        except UnreadableImage:
            refused += 1
            continue
        if found.pixels.shape == sound.pixels.shape:
            off = np.abs(found.pixels - sound.pixels) > limit
            if off.mean() <= 0.001:
                continue
        far += 1
        noted += bool(set(found.notes) - set(sound.notes))
    return refused, count - refused, far, noted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    levels = image_levels(options.side)
    print("format                 tried  refused  read  far  of these noted  silent")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image")
        for name, write in FORMATS.items():
            if options.only not in name:
                continue
            write(path, levels)
            try:
                refused, read, far, noted = try_mutants(path, options.mutants)
            except UnreadableImage as error:
                print(f"{name:22} not read: {error.reason}")
                continue
            print(
                f"{name:22} {options.mutants:5} {refused:8} {read:5} {far:4} {noted:15}"
                f" {far - noted:7}"
            )


if __name__ == "__main__":
    main()
