"""The value types of the data path: an image read from disk, and a line of the manifest."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Identity:
    """Identifying facts of one image; they live in memory only and are written nowhere.

    Every field is an empty string when the file does not state it.
    """

    patient: str = field(default="", repr=False)  # not even a traceback shows it
    accession: str = field(default="", repr=False)
    uid: str = field(default="", repr=False)  # SOPInstanceUID


@dataclass(frozen=True)
class XRay:
    """One X-ray in the normal form: float32, [0, 1], bone bright.

    Attributes:
        pixels: Array [H, W], float32, 0 to 1.
        bits: Meaningful bits of the file's samples (1 to 16).
        format: ``dicom:<transfer syntax name>``, ``png``, ``jpeg`` or ``tiff``.
        view: ``frontal``, ``lateral`` or ``unknown``.
        spacing: Pixel spacing in mm (row, column), or None.
        identity: Facts for joining labels and grouping patients; never written.
        notes: What the reader did or noticed (inversion, window, padding), in short words.
    """

    pixels: NDArray[np.float32]
    bits: int
    format: str
    view: str = "unknown"
    spacing: tuple[float, float] | None = None
    identity: Identity = field(default_factory=Identity)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``ingest/manifest.csv``; all fields are written, none identifies a patient.

    Attributes:
        key: Name of the image in all outputs; mirrors the input tree (POSIX separators).
        path: The input file as given (absolute); empty with ``privacy.rename``.
        frame: Frame number of a multi-frame file, 0 otherwise.
        sha256: Hash of the input file's bytes.
        image_file: The kept image, relative to the ingest folder: grey PNG, bone bright.
        height: Rows of the original image, px.
        width: Columns of the original image, px.
        bits: Meaningful bits of the input.
        format: As `XRay.format`.
        view: ``frontal``, ``lateral`` or ``unknown``.
        source: Hospital or collection; empty when unknown.
        patient: Pseudonym of the patient, 12 hex digits; empty when unknown.
        label: Multi-class: class name. Multi-label: ``name=1;name=0;name=?``. Empty: no label.
        set: Named set, empty when in none.
        mask_file: Given mask (absolute path, or relative to the stage's folder; two joined by
            ``|`` for left and right), or empty.
        status: ``ok`` or ``skipped``.
        reason: Why skipped: ``code: sentence``; empty otherwise.
        notes: As `XRay.notes`, joined by ``; ``.
        spacing: Pixel spacing of the original, mm: ``row;column``; empty when unknown.
    """

    key: str
    path: str = ""
    frame: int = 0
    sha256: str = ""
    image_file: str = ""
    height: int = 0
    width: int = 0
    bits: int = 0
    format: str = ""
    view: str = "unknown"
    source: str = ""
    patient: str = ""
    label: str = ""
    set: str = ""
    mask_file: str = ""
    status: str = "ok"
    reason: str = ""
    notes: str = ""
    spacing: str = ""

    @property
    def pixel_spacing(self) -> tuple[float, float] | None:
        """`spacing` as numbers (row, column), mm; None when unknown."""
        row, _, column = self.spacing.partition(";")
        return (float(row), float(column)) if self.spacing else None


ROW_FIELDS: tuple[str, ...] = tuple(f.name for f in fields(Row))
