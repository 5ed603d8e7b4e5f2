"""Names of the public collections that `isnet init` knows, each with what it is recognised by."""

from __future__ import annotations

from pathlib import Path

from isnet_cli.check.collections import challenges, official
from isnet_cli.check.collections.films import Collection
from isnet_cli.errors import IsnetError

COLLECTIONS: tuple[Collection, ...] = (
    Collection(
        "chestxray14", "ChestX-ray14 (NIH)", (("Data_Entry_2017*.csv",), ("test_list.txt",)),
        official.read_chestxray14, ("Image Index", "Finding Labels", "Patient ID"),
    ),
    Collection(
        "chexpert-plus", "CheXpert Plus", (tuple(official.PLUS_TABLE),),
        official.read_chexpert_plus, ("path_to_image",),
    ),
    Collection(
        "chexpert", "CheXpert",
        (("train.csv", "*/train.csv"), ("train", "CheXpert-v1.0*batch*")), official.read_chexpert,
        ("Path", "Frontal/Lateral", "AP/PA"),
    ),
    Collection(
        "mimic-cxr-jpg", "MIMIC-CXR-JPG",
        (("mimic-cxr-2*-metadata.csv*",), ("mimic-cxr-2*-split.csv*",),
         ("mimic-cxr-2*-chexpert.csv*", "mimic-cxr-2*-negbio.csv*")),
        official.read_mimic, ("dicom_id", "subject_id", "study_id"),
    ),
    Collection(
        "padchest", "PadChest", (("PADCHEST_chest_x_ray_images_labels*.csv*",),),
        official.read_padchest, ("ImageID", "Labels"),
    ),
    Collection(
        "brax", "BRAX", (("master_spreadsheet*.csv",),), official.read_brax, ("PatientID",)
    ),
    Collection(
        "indiana", "Indiana (OpenI)",
        (tuple(official.INDIANA_REPORTS), tuple(official.INDIANA_PROJECTIONS)),
        official.read_indiana, ("uid", "MeSH"),
    ),
    Collection(
        "vindr-cxr", "VinDr-CXR",
        (("annotations/annotations_train.csv", "annotations_train.csv", "train.csv"),),
        challenges.read_vindr, ("image_id", "class_name", "rad_id"),
    ),
    Collection(
        "rsna-pneumonia", "RSNA pneumonia challenge", (("stage_2_train_labels.csv*",),),
        challenges.read_rsna, ("patientId", "Target"),
    ),
    Collection(
        "siim-pneumothorax", "SIIM-ACR pneumothorax", (("train-rle.csv", "stage_2_train.csv"),),
        challenges.read_siim, ("ImageId",),
    ),
    Collection(
        "tbx11k", "TBX11K", (("imgs/health",), ("imgs/tb",), ("lists",)), challenges.read_tbx11k
    ),
    Collection(
        "covidx", "COVIDx", (("train.txt", "train_*.txt"), ("test.txt", "test_*.txt"), ("train",)),
        challenges.read_covidx,
    ),
    Collection(
        "covid-radiography", "COVID-19 Radiography", (("COVID",), ("Viral Pneumonia",)),
        challenges.read_radiography,
    ),
    Collection(
        "cohen", "ieee8023 covid-chestxray-dataset", (("metadata.csv",), ("images",)),
        challenges.read_cohen, ("patientid", "finding", "filename", "view"),
    ),
    Collection(
        "kermany", "Kermany, children", (("train/NORMAL",), ("train/PNEUMONIA",)),
        challenges.read_kermany,
    ),
)  # fmt: skip


def names() -> list[str]:
    """All names, sorted."""
    return sorted(one.name for one in COLLECTIONS)


def recognise(folder: Path) -> Collection | None:
    """The collection that a folder holds, or None."""
    return next((one for one in COLLECTIONS if one.fits(folder)), None)


def find(name: str) -> Collection:
    """The collection of a name.

    Raises:
        IsnetError: Kind "usage": there is none.
    """
    found = next((one for one in COLLECTIONS if one.name == name), None)
    if found is None:
        known = ", ".join(["none", *names()])
        raise IsnetError("usage", f"--dataset {name}: unknown, expected one of {known}")
    return found
