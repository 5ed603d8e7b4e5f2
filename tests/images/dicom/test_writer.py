"""Written DICOM files are valid DX images and are read back as the images they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from isnet_cli.images.dicom.writer import invent_person, write_dicom
from isnet_cli.images.read import read_images


def ramp() -> np.ndarray:
    image = np.linspace(0, 1, 40 * 60, dtype=np.float32).reshape(40, 60)
    image[5:15, :10] = 0.25
    return image


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("rle", [False, True])
def test_a_image_survives(tmp_path: Path, bits: int, photometric: str, rle: bool) -> None:
    path = tmp_path / "image"
    person = invent_person(3, "A")
    write_dicom(
        path, ramp(), person=person, bits=bits, photometric=photometric, rle=rle, view="AP",
        spacing=0.75,
    )  # fmt: skip
    (image,) = read_images(path)
    assert np.abs(image.pixels - ramp()).max() < 2.0 / (1 << bits)
    assert image.bits == bits
    assert image.view == "frontal"
    assert image.spacing == (0.75, 0.75)
    assert image.identity.patient == person.number
    assert image.identity.accession.startswith("ACC")


@pytest.mark.parametrize("rle", [False, True])
def test_header_is_that_of_a_dx_image(tmp_path: Path, rle: bool) -> None:
    path = tmp_path / "image.dcm"
    write_dicom(
        path, ramp(), person=invent_person(1, "B"), bits=12, photometric="MONOCHROME1", rle=rle
    )
    assert path.read_bytes()[128:132] == b"DICM"
    ds = pydicom.dcmread(path)
    assert ds.file_meta.TransferSyntaxUID == (RLELossless if rle else ExplicitVRLittleEndian)
    assert ds.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID):
        assert UID(uid).is_valid
    assert len({ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID}) == 3
    assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (16, 12, 11)
    assert ds.PresentationLUTShape == "INVERSE"
    assert ds.pixel_array.max() == 4095
    assert ds.pixel_array[-1, -1] == 0  # the brightest place of the image
    for element in ds.iterall():
        assert element.VR != "UN"


def test_persons_are_stable_and_differ() -> None:
    assert invent_person(5, "A") == invent_person(5, "A")
    numbers = {invent_person(n, place).number for n in range(60) for place in "AB"}
    assert len(numbers) == 120


def test_two_images_of_a_patient_have_their_own_uids(tmp_path: Path) -> None:
    for image in (0, 1):
        write_dicom(tmp_path / f"{image}.dcm", ramp(), person=invent_person(1, "A"), image=image)
    one, other = (pydicom.dcmread(tmp_path / f"{image}.dcm") for image in (0, 1))
    assert one.PatientID == other.PatientID
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.AccessionNumber != other.AccessionNumber


def test_the_name_of_the_file_is_not_in_it(tmp_path: Path) -> None:
    """A file is written under a temporary name that has the number of the process."""
    for name in ("a.dcm", ".a.4711.tmp.dcm"):
        write_dicom(tmp_path / name, ramp(), person=invent_person(1, "A"))
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / ".a.4711.tmp.dcm").read_bytes()


def test_values_outside_the_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        write_dicom(tmp_path / "x.dcm", ramp() * 2, person=invent_person(0, "A"))
    assert not (tmp_path / "x.dcm").exists()
