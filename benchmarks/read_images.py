"""How long each image format takes to read, as a ratio to an uncompressed DICOM file.

Usage:
    python benchmarks/read_images.py [--side 2048] [--repeats 5]

A synthetic image (smooth shades with noise, 12 bits) is written in each format that can be encoded
here and read with `read_images`; the best of the repeats counts. Ratios, not milliseconds, are to
be compared between machines.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import SimpleITK
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, HTJ2KLossless, JPEGLSLossless, RLELossless

from isnet_cli.images.kept import limit_size, load_image, save_image
from isnet_cli.images.read import read_images

BITS = 12
Levels = NDArray[np.uint16]


def image_levels(side: int) -> Levels:
    """Stored values [side, side] of a smooth image with noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side] / side
    shade = 0.5 + 0.3 * np.sin(5 * rows) * np.cos(4 * columns) + rng.normal(0, 0.01, (side, side))
    return np.asarray(np.clip(shade, 0, 1) * ((1 << BITS) - 1), np.uint16)


def native(path: Path, levels: Levels, syntax: str = ExplicitVRLittleEndian) -> None:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.SOPInstanceUID = "2.25.1"
    ds.Modality = "DX"
    ds.PhotometricInterpretation = "MONOCHROME1"
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, BITS, BITS - 1
    ds.Rows, ds.Columns = levels.shape
    ds.WindowCenter, ds.WindowWidth = 2048, 3000
    ds.PixelData = levels.astype("<u2").tobytes()
    if syntax == RLELossless:
        ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


def by_imagecodecs(encode: Callable[[Levels], bytes], syntax: str) -> Callable[..., None]:
    def write(path: Path, levels: Levels) -> None:
        native(path, levels)
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = syntax
        ds.PixelData = encapsulate([bytes(encode(levels))])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.save_as(path, enforce_file_format=True)

    return write


def rle(path: Path, levels: Levels) -> None:
    native(path, levels, RLELossless)


def by_simpleitk(compressor: str) -> Callable[[Path, Levels], None]:
    def write(path: Path, levels: Levels) -> None:
        image = SimpleITK.GetImageFromArray(levels)
        image.SetMetaData("0008|0060", "DX")
        writer = SimpleITK.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(path))
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.Execute(image)

    return write


def by_pillow(format_: str, bits: int, **options: object) -> Callable[[Path, Levels], None]:
    def write(path: Path, levels: Levels) -> None:
        picture = (levels >> 4).astype(np.uint8) if bits == 8 else levels << 4
        Image.fromarray(picture).save(path, format_, **options)

    return write


WRITERS: dict[str, Callable[[Path, Levels], None]] = {
    "dicom native": native,
    "dicom RLE": rle,
    "dicom JPEG lossless": by_simpleitk("JPEG"),
    "dicom JPEG-LS": by_imagecodecs(imagecodecs.jpegls_encode, JPEGLSLossless),
    "dicom HTJ2K": by_imagecodecs(imagecodecs.htj2k_encode, HTJ2KLossless),
    "dicom JPEG 2000": by_simpleitk("JPEG2000"),
    "png 16 bit": by_pillow("PNG", 16),
    "png 8 bit": by_pillow("PNG", 8),
    "jpeg 8 bit": by_pillow("JPEG", 8, quality=90),
    "tiff 16 bit": by_pillow("TIFF", 16),
}


def best_of(repeats: int, action: Callable[[], object]) -> float:
    """Least wall time of an action in seconds, after one unmeasured call."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    levels = image_levels(options.side)
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in WRITERS.items():
            path = Path(folder, "image")
            write(path, levels)
            size = path.stat().st_size / 1e6
            times[name] = best_of(options.repeats, lambda path=path: read_images(path))
            ratio = times[name] / times["dicom native"]
            print(f"read {name:20} {ratio:6.2f} x   {1e3 * times[name]:7.1f} ms   {size:5.1f} MB")
        native(path, levels)
        (image,) = read_images(path)
        kept = Path(folder, "kept.png")
        reduced = limit_size(image.pixels, 1024)
        save = best_of(options.repeats, lambda: save_image(kept, limit_size(image.pixels, 1024)))
        load = best_of(options.repeats, lambda: load_image(kept))
        print(f"keep at {reduced.shape[1]} x {reduced.shape[0]}: {1e3 * save:.1f} ms")
        print(f"load again: {1e3 * load:.1f} ms")
    print(f"pydicom {pydicom.__version__}, imagecodecs {imagecodecs.__version__}")


if __name__ == "__main__":
    main()
