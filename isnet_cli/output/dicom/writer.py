"""Writes the DICOM files about one image: finds out where they belong, then makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isnet_cli.core import files
from isnet_cli.core.pseudonyms import new_salt, pseudonym, read_salt
from isnet_cli.errors import IsnetError, explain_error
from isnet_cli.images.dicom.header import MIRRORED
from isnet_cli.images.dicom.source import is_dicom, read_source_header
from isnet_cli.images.resize import resize
from isnet_cli.images.types import Row
from isnet_cli.output.dicom.capture import image_capture
from isnet_cli.output.dicom.filing import Filing, anonymous, of_source, patient_orientation
from isnet_cli.output.dicom.segmentation import Kind, segmentation

SALT = ".salt"
KINDS = ("dicom-sc", "dicom-seg", "dicom-sr", "dicom-pm")
REFERRING = {
    "dicom-seg",
    "dicom-sr",
    "dicom-pm",
}  # of which an anonymous one needs an image to refer to


@dataclass(frozen=True)
class DicomWriter:
    """Writes the DICOM outputs of one image in one version.

    Attributes:
        filing: Patient, study and geometry.
        series: Name of the method, as in the index.
        model: Which weights, as the serial number of the device.
    """

    filing: Filing
    series: str
    model: str

    def segment(
        self,
        mask: NDArray[np.bool_],
        kind: Kind,
        *,
        target: str,
        number: int,
        meaning: str,
        instead: str,
    ) -> bytes:
        """A region [H, W] of the original image as a DICOM Segmentation.

        Args:
            mask: The region.
            kind: What it is.
            target: See `segmentation`.
            number: See `segmentation`.
            meaning: See `segmentation`.
            instead: Formats to ask for where it cannot be made.

        Raises:
            IsnetError: Kind "data": the source's header does not allow a segmentation.
        """
        try:
            return segmentation(
                mask, self.filing, series=self.series, target=target, number=number,
                meaning=meaning, model=self.model, kind=kind,
            )  # fmt: skip
        except (AttributeError, TypeError, ValueError) as error:
            raise IsnetError(
                "data",
                f"{self.filing.name}: no segmentation can refer to this image's header "
                f"({explain_error(error)})",
                fix=f"leave --identity keep out, or ask for --format {instead}",
            ) from None

    def image(self, image: NDArray[np.float32], size: tuple[int, int]) -> bytes:
        """The image itself, for outputs that refer to nothing else."""
        return image_capture(resize(image, size), self.filing)


def open_dicom(
    row: Row, name: str, root: Path, *, keep: bool, series: str, model: str
) -> DicomWriter:
    """Finds out where the outputs about an image belong.

    Args:
        row: The image.
        name: Of the image in its set and version.
        root: The stage's folder, which keeps the salt of new identifiers.
        keep: Whether patient and study are kept, where the image has them.
        series: See `DicomWriter`.
        model: See `DicomWriter`.

    Raises:
        IsnetError: Kind "data", as `read_source_header`.
    """
    salt, spacing = read_salt(root / SALT), row.pixel_spacing
    orientation = patient_orientation(row.view, mirrored=MIRRORED in row.notes)
    if keep and is_dicom(row):
        filing = of_source(read_source_header(row), row.frame, salt, name, spacing, orientation)
    else:
        patient = row.patient or pseudonym(salt, row.key)
        filing = anonymous(salt, name, patient, spacing, orientation)
    return DicomWriter(filing, series, model)


def prepare_dicom(formats: Sequence[str], root: Path) -> None:
    """Makes what DICOM output needs: the salt of its identifiers, once.

    Args:
        formats: The formats asked for.
        root: The stage's folder.
    """
    if set(formats) & set(KINDS) and not (root / SALT).exists():
        files.write_bytes(root / SALT, new_salt())
        (root / SALT).chmod(0o600)
