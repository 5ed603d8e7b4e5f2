"""Any file to films: the format is told by content, and every failure becomes a reason."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np

from isnet_cli.config.schema import Dicom
from isnet_cli.errors import UnreadableFilm
from isnet_cli.images.detect_format import HEAD_BYTES, Format, describe, sniff_bytes
from isnet_cli.images.dicom.greyscale import Scale
from isnet_cli.images.quiet import quiet
from isnet_cli.images.types import Film

REASONS: dict[str, str] = {
    "missing": "the listed file does not exist",
    "no_access": "the file cannot be opened",
    "not_a_file": "a folder, pipe or device instead of a file",
    "not_image": "the content is neither DICOM, PNG, JPEG nor TIFF",
    "unreadable": "damaged beyond decoding",
    "truncated": "fewer pixel data than the header declares",
    "too_large": "more pixels or bytes than a chest film can have",
    "bad_header": "the description of the pixels is missing or contradicts itself",
    "bad_lut": "the modality LUT or rescale cannot be applied",
    "depth": "a bit depth or sample format without defined intensities",
    "codec": "a compression that is not supported",
    "no_pixels": "a DICOM object without pixel data",
    "modality": "no projection film by its modality or storage class",
    "body_part": "a body part other than the chest is stated",
    "colour": "a colour picture",
    "constant": "all pixels are equal",
    "saturated": "nearly all pixels are pure black or white",
    "too_small": "too few pixels",
    "aspect": "far too long and narrow",
    "lateral": "a lateral film where frontal ones are wanted",
}


def read_films(path: Path, dicom: Dicom | None = None, scale: Scale = "bits") -> list[Film]:
    """Reads a file as one or several films (frames, pages) in the normal form.

    Nothing but `UnreadableFilm` is raised for any content of the file, and no text of the file
    gets into the message, the log or the warnings (see `quiet`, which acts on the whole process:
    use processes rather than threads to read several files at a time).

    Args:
        path: The file; its name does not matter.
        dicom: How DICOM pixels become intensities.
        scale: What white means: the sample's bits, or the film's own values.

    Returns:
        At least one film: float32, finite, 0 to 1, bone bright, at the file's own size.

    Raises:
        UnreadableFilm: With one of the reasons of `REASONS`.
    """
    kind = _kind(path)
    try:
        with quiet():
            films = _dispatch(path, kind, dicom, scale)
    except UnreadableFilm:
        raise
    except MemoryError:
        raise UnreadableFilm("too_large", "does not fit into memory") from None
    except Exception as error:
        truncated = "truncated" in str(error) or isinstance(error, EOFError)
        raise UnreadableFilm(
            "truncated" if truncated else "unreadable",
            f"damaged {kind.upper()} file ({type(error).__name__} while reading)",
        ) from None
    for film in films:
        _check(film)
    return films


def _kind(path: Path) -> Format:
    """Format by content; what cannot be opened or is no image is refused."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UnreadableFilm("not_a_file", "not a regular file, expected an X-ray file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableFilm("missing", "no such file") from None
    except (OSError, ValueError) as error:
        name = type(error).__name__
        raise UnreadableFilm("no_access", f"the file cannot be opened ({name})") from None
    kind = sniff_bytes(head)
    if kind is None:
        raise UnreadableFilm("not_image", f"{describe(head)}, expected DICOM, PNG, JPEG or TIFF")
    return kind


def _dispatch(path: Path, kind: Format, dicom: Dicom | None, scale: Scale) -> list[Film]:
    if kind == "dicom":
        from isnet_cli.images.dicom.reader import read_dicom

        return read_dicom(path, dicom, scale)
    from isnet_cli.images.raster import read_raster

    return read_raster(path, kind, scale)


def _check(film: Film) -> None:
    """The promise of the normal form, kept for every input."""
    pixels = film.pixels
    if pixels.ndim != 2 or pixels.size == 0 or pixels.dtype != np.float32:
        raise UnreadableFilm("unreadable", "decoded to no two-dimensional picture")
    if not (float(pixels.min()) >= 0.0 and float(pixels.max()) <= 1.0):
        raise UnreadableFilm("unreadable", "decoded to values that are not finite or out of range")
