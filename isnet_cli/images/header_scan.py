"""What a file states before its pixels: format, size, view, and whose image it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from isnet_cli.config.schema import Limits
from isnet_cli.core.records.facts import UNKNOWN, Facts
from isnet_cli.errors import UnreadableImage
from isnet_cli.images.detect_format import Format, open_image
from isnet_cli.images.dicom import header
from isnet_cli.images.dicom.attributes import read_text
from isnet_cli.images.dicom.dataset import open_dataset
from isnet_cli.images.quiet import quiet
from isnet_cli.images.raster import open_picture
from isnet_cli.images.types import Identity

PLACEHOLDERS = {  # identifiers that de-identification leaves; they name no patient
    *("", "0", "anon", "anonym", "anonymous", "anonymized", "anonymised", "deidentified"),
    *("removed", "unknown", "none", "na", "nan", "null", "no id", "noid", "xxx", "xxxx"),
}


@dataclass(frozen=True)
class HeaderFacts:
    """What a header states; identity stays in memory.

    Attributes:
        kind: ``dicom``, ``png``, ``jpeg``, ``tiff``, or empty when it is none of them.
        format: As `XRay.format`.
        bits: Meaningful bits of a sample, 0 when unknown.
        photometric: DICOM's photometric interpretation, or the picture's mode.
        view: ``frontal``, ``lateral`` or ``unknown``.
        height: Rows, px; 0 when unknown.
        width: Columns, px; 0 when unknown.
        frames: Number of frames, as far as the header states.
        identity: For joining labels and grouping patients.
        facts: Coarse facts by which scores may be compared.
        fault: (reason, sentence) when the header alone rules the file out, else None.
    """

    kind: str = ""
    format: str = ""
    bits: int = 0
    photometric: str = ""
    view: str = "unknown"
    height: int = 0
    width: int = 0
    frames: int = 1
    identity: Identity = field(default_factory=Identity)
    facts: Facts = UNKNOWN
    fault: tuple[str, str] | None = None


def scan_header(path: Path, limits: Limits | None = None) -> HeaderFacts:
    """Reads a file's header and never its pixels.

    Args:
        path: The file.
        limits: What it may be and take; None: the defaults.

    Returns:
        The facts; with `Facts.fault` where the file is certain to be refused. A damaged header is
        no fault here: the reader decides when it reads the pixels.
    """
    try:
        kind, head = open_image(path)
    except UnreadableImage as fault:
        return HeaderFacts(fault=(fault.reason, fault.detail))
    limits = limits or Limits()
    try:
        with quiet():
            if kind == "dicom":
                return _scan_dicom(path, limits)
            return _scan_picture(path, kind, head, limits)
    except UnreadableImage as fault:
        return HeaderFacts(kind, kind, fault=(fault.reason, fault.detail))
    except Exception:  # a damaged header: the full reader names the fault
        return HeaderFacts(kind, kind)


def drop_placeholder(patient: str) -> str:
    """A patient identifier, or empty when it is a word that stands for no patient."""
    return "" if patient.strip().lower().rstrip("^ ") in PLACEHOLDERS else patient.strip()


def _scan_dicom(path: Path, limits: Limits) -> HeaderFacts:
    ds = open_dataset(path, limits, header=True)
    syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
    facts = HeaderFacts(
        kind="dicom",
        format=f"dicom:{syntax.name}" if syntax else "dicom",
        bits=_parse_whole(ds.get("BitsStored")),
        photometric=_read_photometric(ds),
        view=header.read_view(ds),
        height=_parse_whole(ds.get("Rows")),
        width=_parse_whole(ds.get("Columns")),
        frames=max(1, _parse_whole(ds.get("NumberOfFrames"))),
        identity=header.read_identity(ds),
        facts=header.read_facts(ds),
    )
    if facts.height and facts.width:
        ds.PixelData = b""  # was left unread; its absence is not a fault here
    try:
        header.refuse_unfit(ds)
    except UnreadableImage as fault:
        return replace(facts, fault=(fault.reason, fault.detail))
    return facts


def _read_photometric(ds: Any) -> str:
    """A term that DICOM defines; ``other`` for anything else, which may name somebody."""
    from isnet_cli.images.dicom.pixel_module import COLOUR, GREY

    stated = read_text(ds, "PhotometricInterpretation").upper()
    return stated if stated in {*GREY, *COLOUR, ""} else "other"


def _scan_picture(path: Path, kind: Format, head: bytes, limits: Limits) -> HeaderFacts:
    with open_picture(path, (kind.upper(),), limits) as image:
        mode, (width, height) = image.mode, image.size
        bits = 16 if mode.startswith("I") else 32 if mode == "F" else 1 if mode == "1" else 8
    if kind == "png":
        bits = head[24]  # IHDR: bit depth (PNG specification, section 11.2.1)
    return HeaderFacts(kind, kind, bits, mode, height=height, width=width)


def _parse_whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
