"""Masks in further formats, for viewers: NIfTI, and DICOM Segmentations of the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Config
from isnet_cli.core import files
from isnet_cli.images.dicom.header import MIRRORED
from isnet_cli.images.kept import load_image
from isnet_cli.images.types import Row
from isnet_cli.output.dicom.segmentation import LUNGS
from isnet_cli.output.dicom.writer import open_dicom
from isnet_cli.output.nifti import nifti_bytes

ENDINGS = {
    "png": (".png",), "nifti": (".nii.gz",), "dicom-seg": (".seg.dcm", ".image.dcm"),
}  # fmt: skip
SERIES = "lung masks"


@dataclass(frozen=True)
class MaskFiles:
    """Writes the formats asked for besides PNG; safe to call from several threads.

    Attributes:
        config: The configuration.
        ingest: Folder of the ingest stage.
        root: Folder that the masks go into.
        model: Which weights made masks, as the serial number of the device.
    """

    config: Config
    ingest: Path
    root: Path
    model: str = "given"

    def write(self, row: Row, mask: NDArray[np.bool_]) -> None:
        """Writes one mask [H, W] in every further format.

        Raises:
            IsnetError: Kind "data": identity is to be kept, and the image's file is gone, has
                changed, or has a header that no segmentation can refer to.
        """
        formats = self.config.masks.formats
        if "nifti" in formats:
            volume = nifti_bytes(
                mask, row.pixel_spacing, row.view, self.root, mirrored=MIRRORED in row.notes
            )
            files.write_bytes(self.root / f"{row.key}.nii.gz", volume)
        if "dicom-seg" in formats:
            self._dicom(row, mask)

    def written(self, key: str) -> list[Path]:
        """The files of an image's mask that are there, in all formats asked for."""
        asked = [e for name, group in ENDINGS.items() if self._asked(name) for e in group]
        paths = [self.root / f"{key}{ending}" for ending in asked]
        return [path for path in paths if path.is_file()]

    def stale(self, keys: set[str], kept: set[str]) -> list[str]:
        """Names of an earlier result's files that the present one does not have.

        Args:
            keys: Images of the earlier result.
            kept: Images of the present result that have a mask.
        """
        return [
            f"{key}{ending}"
            for key in sorted(keys)
            for name, group in ENDINGS.items()
            for ending in group
            if key not in kept or not self._asked(name)
        ]

    def _asked(self, name: str) -> bool:
        return name == "png" or name in self.config.masks.formats

    def _dicom(self, row: Row, mask: NDArray[np.bool_]) -> None:
        keep = self.config.masks.identity == "keep"
        writer = open_dicom(row, row.key, self.root, keep=keep, series=SERIES, model=self.model)
        content = writer.segment(
            mask, LUNGS, target="Lungs", number=1, meaning="both lungs, heart excluded",
            instead="png,nifti",
        )  # fmt: skip
        files.write_bytes(self.root / f"{row.key}.seg.dcm", content)
        if not writer.filing.kept:
            picture = writer.image(
                load_image(self.ingest / row.image_file), (row.height, row.width)
            )
            files.write_bytes(self.root / f"{row.key}.image.dcm", picture)
