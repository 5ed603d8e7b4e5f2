"""Maps as NIfTI volumes of one slice, lying in the patient as the image does."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isnet_cli.guard.leftovers import name_temporary
from isnet_cli.guard.opening import read_bytes

Direction = tuple[float, float, float]

LEFT, BACK, DOWN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)  # DICOM: left, back, head
UNKNOWN_SPACING = 1.0  # mm
NOTE = "isnet; pixel spacing unknown"


def nifti_bytes(
    values: NDArray[np.float32] | NDArray[np.bool_],
    spacing: tuple[float, float] | None,
    view: str,
    folder: Path,
    *,
    mirrored: bool = False,
) -> bytes:
    """A ``.nii.gz`` file of a map or mask; the same map gives the same bytes.

    One coronal slice: rows run towards the feet, columns to the patient's left (to the right when
    `mirrored`); for a lateral image one sagittal slice whose columns run to the back. The first
    pixel is the origin. The file holds float32 values (uint8 0 and 1 of a mask), spacing and
    direction, nothing else; an unknown spacing is written as 1 mm, and the header says so.

    Args:
        values: [H, W].
        spacing: (row, column) in mm, or None.
        view: ``frontal``, ``lateral`` or ``unknown`` (taken as frontal).
        folder: Where the file goes; the library needs a file of its own, which is removed.
        mirrored: Whether columns run the other way.
    """
    import SimpleITK

    columns = BACK if view == "lateral" else LEFT
    if mirrored:
        columns = (-columns[0], -columns[1], -columns[2])
    kind = np.uint8 if values.dtype == np.bool_ else np.float32
    image = SimpleITK.GetImageFromArray(values.astype(kind)[None])
    row, column = spacing or (UNKNOWN_SPACING, UNKNOWN_SPACING)
    image.SetSpacing((column, row, min(row, column)))
    normal = np.cross(columns, DOWN)
    image.SetDirection(np.stack([columns, DOWN, normal], axis=1).ravel().tolist())
    if spacing is None:
        image.SetMetaData("ITK_FileNotes", NOTE)
    path = name_temporary(folder / f"volume-{threading.get_ident()}.nii")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        SimpleITK.WriteImage(image, str(path))
        return gzip.compress(read_bytes(path, None), compresslevel=6, mtime=0)
    finally:
        path.unlink(missing_ok=True)
