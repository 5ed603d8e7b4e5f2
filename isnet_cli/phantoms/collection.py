"""Synthetic images as two hospitals would deliver them: DICOM and PNG, and a label table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from isnet_cli.images.dicom.writer import invent_person, write_dicom
from isnet_cli.images.mask_files import save_mask
from isnet_cli.phantoms.exposure import Hospital
from isnet_cli.phantoms.phantom import make_phantom

DISEASE, NORMAL = "disease", "normal"
COLUMNS = ("file", "patient", "hospital", "label")
Kind = Literal[
    "dicom12", "dicom12_inverted", "dicom16_rle", "dicom12_inverted_rle", "png16", "png8"
]
_KINDS: dict[str, tuple[tuple[Kind, float], ...]] = {
    "A": (
        ("dicom12", 0.25),
        ("dicom12_inverted", 0.2),
        ("dicom16_rle", 0.2),
        ("dicom12_inverted_rle", 0.15),
        ("png16", 0.2),
    ),
    "B": (("png8", 0.6), ("dicom12_inverted", 0.2), ("dicom16_rle", 0.2)),
}


@dataclass(frozen=True)
class ImagePlan:
    """One image to draw and where to write it.

    Attributes:
        hospital: ``A`` or ``B``.
        patient: Number of the patient within the hospital.
        image: Number of the image of this patient.
        disease: Whether it shows signs of disease.
        kind: Form of the file.
        seed: Seed of the collection.
        side: Longer side, px.
    """

    hospital: Hospital
    patient: int
    image: int
    disease: bool
    kind: Kind
    seed: int
    side: int

    @property
    def file(self) -> str:
        """Path of the file inside the collection; some DICOM files have no ending, as in life."""
        ending = ".png" if self.kind.startswith("png") else ""
        if not ending and self.image % 2 == 0:
            ending = ".dcm"
        return f"hospital_{self.hospital.lower()}/p{self.patient:03d}/film{self.image}{ending}"

    @property
    def key(self) -> str:
        """Name of the image without its ending."""
        return self.file.removesuffix(".png").removesuffix(".dcm")

    def row(self) -> dict[str, str]:
        """Line of the label table."""
        return {
            "file": self.file,
            "patient": f"{self.hospital}{self.patient:03d}",
            "hospital": self.hospital,
            "label": DISEASE if self.disease else NORMAL,
        }


def plan_images(patients_a: int, patients_b: int, seed: int, side: int) -> list[ImagePlan]:
    """Images of a collection: every second patient is ill, some have two images.

    The form of the file does not depend on the disease.

    Args:
        patients_a: Patients of hospital A.
        patients_b: Patients of hospital B, one image each.
        seed: Seed of the collection.
        side: Longer side of the images, px.
    """
    plans: list[ImagePlan] = []
    hospitals: tuple[tuple[Hospital, int], ...] = (("A", patients_a), ("B", patients_b))
    for hospital, patients in hospitals:
        rng = np.random.default_rng([seed, 11, ord(hospital)])
        kinds, shares = zip(*_KINDS[hospital], strict=True)
        ill = rng.permutation(patients) % 2 == 0
        for patient in range(patients):
            images = 2 if hospital == "A" and rng.random() < 0.15 else 1
            for image in range(images):
                kind = kinds[int(rng.choice(len(kinds), p=shares))]
                plans.append(
                    ImagePlan(hospital, patient, image, bool(ill[patient]), kind, seed, side)
                )
    return plans


def draw_image(
    plan: ImagePlan, image: Path, lungs: Path | None = None, lesion: Path | None = None
) -> None:
    """Draws one image and writes it, its true lungs and its lesion (8-bit PNG, 0 or 255).

    The folders exist.
    """
    synthetic = make_phantom(
        plan.patient, plan.image, plan.disease, plan.hospital, plan.seed, plan.side
    )
    if plan.kind.startswith("png"):
        deep = plan.kind == "png16"
        top, kind = (65535, np.uint16) if deep else (255, np.uint8)
        levels = np.rint(synthetic.pixels.astype(np.float64) * top).astype(kind)
        Image.fromarray(levels).save(image, format="PNG", compress_level=3)
    else:
        write_dicom(
            image,
            synthetic.pixels,
            person=invent_person(plan.patient, plan.hospital),
            bits=16 if "16" in plan.kind else 12,
            photometric="MONOCHROME1" if "inverted" in plan.kind else "MONOCHROME2",
            rle=plan.kind.endswith("rle"),
            spacing=synthetic.spacing,
            institution=f"Invented Hospital {plan.hospital}",
            image=plan.image,
        )
    if lungs is not None:
        save_mask(lungs, synthetic.lungs)
    if lesion is not None:
        save_mask(lesion, synthetic.lesion)
