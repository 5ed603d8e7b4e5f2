"""The header of the DICOM file that an image came from, for output that keeps its identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isnet_cli.core.files import sha256_file
from isnet_cli.errors import IsnetError
from isnet_cli.images.dicom.dataset import open_dataset
from isnet_cli.images.quiet import quiet
from isnet_cli.images.types import Row

_FIX = "isnet ingest CONFIG reads the images anew, or leave --identity keep out"


def is_dicom(row: Row) -> bool:
    """Whether an image came from a DICOM file; only those have a patient and a study to keep."""
    return row.format.startswith("dicom")


def read_source_header(row: Row) -> Any:
    """The data set of an image's file without its pixels, exactly the file that was ingested.

    Raises:
        IsnetError: Kind "data": the file is gone, was changed since, cannot be parsed, or says no
            study, series or instance; the message quotes nothing of the header.
    """
    path = Path(row.path)
    try:
        digest = sha256_file(path)
    except OSError as error:
        words = (error.strerror or "unreadable").lower()
        raise IsnetError(
            "data", f"{row.key}: its file cannot be read ({words})", fix=_FIX
        ) from None
    if digest != row.sha256:
        raise IsnetError("data", f"{row.key}: its file has changed since it was ingested", fix=_FIX)
    try:
        with quiet():
            ds = open_dataset(path, header=True)
            ds.decode()
    except Exception:
        raise IsnetError("data", f"{row.key}: the header cannot be parsed", fix=_FIX) from None
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        if not ds.get(keyword):
            raise IsnetError("data", f"{row.key}: the file has no {keyword}", fix=_FIX)
    return ds
