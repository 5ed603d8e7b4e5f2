"""Maps as DICOM objects for the viewer: overlay, region, and the image that they refer to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isnet_cli.core import files
from isnet_cli.core.pseudonym import new_salt, pseudonym, read_salt
from isnet_cli.errors import IsnetError
from isnet_cli.heatmap.files import ImageMap, said_of
from isnet_cli.heatmap.region import region_threshold
from isnet_cli.heatmap.scale import shown_part, smoothing
from isnet_cli.images.dicom.header import MIRRORED
from isnet_cli.images.dicom.source import is_dicom, source_header
from isnet_cli.images.resize import resize, resize_mask
from isnet_cli.images.types import Row
from isnet_cli.output.captures import compose_capture
from isnet_cli.output.colours import smooth
from isnet_cli.output.dicom_capture import image_capture, overlay_capture
from isnet_cli.output.dicom_filing import Filing, anonymous, of_source, patient_orientation
from isnet_cli.output.dicom_seg import REGION, Kind, can_segment, segmentation

SALT = ".salt"
KINDS = ("dicom-sc", "dicom-seg")
REGION_SMOOTHING = 1.5  # px of the network's input: a region in one piece, not a cloud of pixels


@dataclass(frozen=True)
class DicomWriter:
    """Writes the DICOM outputs of one image in one version.

    Attributes:
        filing: Patient, study and geometry.
        series: Name of the method, as in the index.
        share: Of positive values that a region holds.
        model: Which weights, as the serial number of the device.
    """

    filing: Filing
    series: str
    share: float
    model: str

    def write(self, kind: str, found: ImageMap) -> bytes:
        """One map as a ``dicom-sc`` or ``dicom-seg`` file.

        Raises:
            IsnetError: Kind "data": the source's header does not allow a segmentation.
        """
        target, number = found.classes[found.target], found.target + 1
        size = found.frame.original
        if kind == "dicom-sc":
            lungs = None
            if found.lungs is not None:
                lungs = resize_mask(found.lungs, size)
            picture = compose_capture(
                resize(found.image, size),
                resize(_smoothed(found, smoothing(found.method)), size),
                lungs,
                said_of(found),
                limit=found.colour_limit,
                signed=found.method.signed,
            )
            return overlay_capture(
                picture, self.filing, series=self.series, target=target, number=number,
                facts=said_of(found),
            )  # fmt: skip
        meaning = f"smallest region with {100 * self.share:.0f} % of what speaks for it"
        return self.segment(
            region(found, self.share), REGION, target=target, number=number, meaning=meaning,
            instead="dicom-sc alone",
        )  # fmt: skip

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
                f"({type(error).__name__})",
                fix=f"leave --identity keep out, or ask for --format {instead}",
            ) from None

    def image(self, image: NDArray[np.float32], size: tuple[int, int]) -> bytes:
        """The image itself, for outputs that refer to nothing else."""
        return image_capture(resize(image, size), self.filing)


def region(found: ImageMap, share: float) -> NDArray[np.bool_]:
    """The smallest region [H, W] of the original image that holds `share` of the positive map."""
    sigma = REGION_SMOOTHING if found.method.smoothed else 0.0
    values = _smoothed(found, sigma)
    inside: NDArray[np.bool_] = resize(values, found.frame.original) >= region_threshold(
        values, share
    )
    return inside


def _smoothed(found: ImageMap, sigma: float) -> NDArray[np.float32]:
    """What pictures show, smoothed at the network's size (sigma in its px), not enlarged."""
    return smooth(shown_part(found.map, found.frame, found.method), sigma)


def open_dicom(
    row: Row, name: str, root: Path, *, keep: bool, series: str, share: float, model: str
) -> DicomWriter:
    """Finds out where the outputs about an image belong.

    Args:
        row: The image.
        name: Of the image in its set and version.
        root: The stage's folder, which keeps the salt of new identifiers.
        keep: Whether patient and study are kept, where the image has them.
        series: See `DicomWriter`.
        share: See `DicomWriter`.
        model: See `DicomWriter`.

    Raises:
        IsnetError: Kind "data", as `source_header`.
    """
    salt, spacing = read_salt(root / SALT), row.pixel_spacing
    orientation = patient_orientation(row.view, mirrored=MIRRORED in row.notes)
    if keep and is_dicom(row):
        filing = of_source(source_header(row), row.frame, salt, name, spacing, orientation)
    else:
        patient = row.patient or pseudonym(salt, row.key)
        filing = anonymous(salt, name, patient, spacing, orientation)
    return DicomWriter(filing, series, share, model)


def prepare_dicom(formats: list[str], root: Path, key: str = "heatmap.formats") -> None:
    """Makes what DICOM output needs: the salt of its identifiers, once.

    Args:
        formats: The formats asked for.
        root: The stage's folder.
        key: Where they were asked for.

    Raises:
        IsnetError: Kind "machine": segmentations need a package that is not installed.
    """
    if "dicom-seg" in formats and not can_segment():
        raise IsnetError(
            "machine",
            f"{key}: dicom-seg needs the package highdicom, which is not installed",
            fix="pip install 'isnet[dicom]'   or leave dicom-seg out of --format",
        )
    if set(formats) & set(KINDS) and not (root / SALT).exists():
        files.write_bytes(root / SALT, new_salt())
        (root / SALT).chmod(0o600)
