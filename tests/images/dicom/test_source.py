"""The header of an image's own file, when it is still that file."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.core.files import sha256_file
from isnet_cli.errors import IsnetError
from isnet_cli.images.dicom.source import is_dicom, read_source_header
from isnet_cli.images.types import Row
from tests.images.dicom.factory import dicom_bytes, image_values

CANARY = "CANARY^JANE"


def row_of(path: Path, **attributes: object) -> Row:
    path.write_bytes(dicom_bytes(image_values(), PatientName=CANARY, **attributes))
    return Row("a", path=str(path), sha256=sha256_file(path), format="dicom:Explicit")


def test_the_header_is_read_without_pixels(tmp_path: Path) -> None:
    row = row_of(tmp_path / "image", StudyInstanceUID="2.25.7", SeriesInstanceUID="2.25.8")
    header = read_source_header(row)
    assert str(header.PatientName) == CANARY
    assert "PixelData" not in header
    assert is_dicom(row)
    assert not is_dicom(Row("a", format="png"))


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0\0")


@pytest.mark.parametrize(
    ("spoil", "words"), [(Path.unlink, "cannot be read (no such file"), (change, "has changed")]
)
def test_another_file_is_refused(tmp_path: Path, spoil: object, words: str) -> None:
    row = row_of(tmp_path / "image", StudyInstanceUID="2.25.7", SeriesInstanceUID="2.25.8")
    spoil(tmp_path / "image")  # type: ignore[operator]
    with pytest.raises(IsnetError) as caught:
        read_source_header(row)
    assert caught.value.kind == "data"
    assert words in caught.value.message


def test_a_image_without_a_study_is_refused_without_quoting_it(tmp_path: Path) -> None:
    row = row_of(tmp_path / "image", SeriesInstanceUID="2.25.8")
    with pytest.raises(IsnetError, match="no StudyInstanceUID") as caught:
        read_source_header(row)
    assert "CANARY" not in caught.value.render()


def test_a_file_that_is_no_dicom_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"nothing")
    row = Row("a", path=str(path), sha256=sha256_file(path), format="dicom:Explicit")
    with pytest.raises(IsnetError, match=r"cannot be parsed|has no"):
        read_source_header(row)
