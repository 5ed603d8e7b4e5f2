"""Any file to images: the content decides the format, and every failure becomes a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from isnet_cli.config.schema import Dicom, Limits
from isnet_cli.errors import UnreadableImage, explain_error
from isnet_cli.images.detect_format import Format, open_image
from isnet_cli.images.dicom.greyscale import Scale
from isnet_cli.images.quiet import describe_warnings, quiet
from isnet_cli.images.types import XRay

REASONS: dict[str, str] = {
    "missing": "the listed file does not exist",
    "no_access": "the file cannot be opened",
    "not_a_file": "a folder, pipe, socket, device or broken link instead of a file",
    "not_image": "the content is neither DICOM, PNG, JPEG nor TIFF",
    "unreadable": "damaged beyond decoding",
    "truncated": "fewer pixel data than the header declares",
    "too_large": "more pixels, bytes, frames or memory than the limits allow",
    "too_slow": "reading takes more time than the limits allow",
    "bad_header": "the description of the pixels is missing or contradicts itself",
    "bad_lut": "the modality LUT, rescale or palette cannot be applied",
    "depth": "a bit depth or sample format without defined intensities",
    "codec": "a compression that is not supported",
    "no_pixels": "a DICOM object without pixel data",
    "modality": "no projection image by its modality or storage class",
    "body_part": "a body part other than the chest is stated",
    "colour": "a colour picture",
    "constant": "all pixels are equal",
    "saturated": "nearly all pixels are pure black or white",
    "too_small": "too few pixels",
    "aspect": "far too long and narrow",
    "lateral": "a lateral image where frontal ones are wanted",
}


def read_images(
    path: Path,
    dicom: Dicom | None = None,
    scale: Scale = "bits",
    limits: Limits | None = None,
) -> list[XRay]:
    """Reads a file as one or several images (frames, pages) in the normal form.

    Nothing but `UnreadableImage` is raised for any content of the file, and no text of the file
    gets into the message, the log or the warnings (see `quiet`, which acts on the whole process:
    use processes rather than threads to read several files at a time).

    Args:
        path: The file; its name does not matter.
        dicom: How DICOM pixels become intensities.
        scale: What white means: the sample's bits, or the image's own values.
        limits: What the file may be and take; None: the defaults. Time and memory as a whole are
            those of a worker process (`isnet_cli.core.workers`).

    Returns:
        At least one image: float32, finite, 0 to 1, bone bright, at the file's own size.

    Raises:
        UnreadableImage: With one of the reasons of `REASONS`.
    """
    kind, _ = open_image(path)
    try:
        with quiet() as heard:
            images = _read_format(path, kind, dicom, scale, limits or Limits())
        doubts = describe_warnings(heard)
    except UnreadableImage:
        raise
    except MemoryError as error:  # the cause is looked at by `isnet_cli.ingest.reading`
        raise UnreadableImage("too_large", "does not fit into memory") from error
    except Exception as error:
        truncated = "truncated" in str(error) or isinstance(error, EOFError)
        raise UnreadableImage(
            "truncated" if truncated else "unreadable",
            f"damaged {kind.upper()} file ({explain_error(error)})",
        ) from None
    for image in images:
        _check_normal_form(image)
    return [replace(x, notes=(*x.notes, *doubts)) for x in images] if doubts else images


def _read_format(
    path: Path, kind: Format, dicom: Dicom | None, scale: Scale, limits: Limits
) -> list[XRay]:
    if kind == "dicom":
        from isnet_cli.images.dicom.reader import read_dicom

        return read_dicom(path, dicom, scale, limits)
    from isnet_cli.images.raster import read_raster

    return read_raster(path, kind, scale, limits)


def _check_normal_form(image: XRay) -> None:
    """The promise of the normal form, kept for every input."""
    pixels = image.pixels
    if pixels.ndim != 2 or pixels.size == 0 or pixels.dtype != np.float32:
        raise UnreadableImage("unreadable", "decoded to no two-dimensional picture")
    if not (float(pixels.min()) >= 0.0 and float(pixels.max()) <= 1.0):
        raise UnreadableImage("unreadable", "decoded to values that are not finite or out of range")
