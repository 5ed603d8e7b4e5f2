"""Synthetic chest images: line integrals through a simple chest, exposed like an X-ray.

A phantom shows what a frontal chest image shows (lungs, vessels, heart, aorta, airways, diaphragm,
ribs, clavicles, scapulae, spine, stomach gas) with variation from patient to patient and from image
to image, signs of disease inside the lungs, and letters and markers outside. It stands in for
patients in the demonstration and in tests; it is no model of any disease.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isnet_cli.phantoms.anatomy import Patient, Pose, Soft, draw_soft_parts
from isnet_cli.phantoms.bones import draw_ribs, draw_shoulder_girdle, draw_spine
from isnet_cli.phantoms.canvas import Grid, Map, Tubes, draw_clouds
from isnet_cli.phantoms.disease import Disease, add_disease
from isnet_cli.phantoms.exposure import LUNG, SOFT, Hospital, add_marks, collimate, expose
from isnet_cli.phantoms.vessels import draw_airways, draw_vessels

_MARGIN = 32  # px around the image, so that no tube wraps around
VISIBLE = 0.15  # attenuation: a lesion is where disease changes it by more; hardly seen below


@dataclass(frozen=True)
class Phantom:
    """One synthetic image with what is known about it.

    Attributes:
        pixels: [H, W] float32, 0 to 1, bone bright.
        lungs: [H, W] bool, the visible lung fields (heart, mediastinum and domes left out).
        lesion: [H, W] bool, where disease changes the attenuation by more than `VISIBLE`; all false
            in normal images.
        patient: Number of the patient.
        image: Number of the image of this patient.
        disease: Whether it has signs of disease.
        hospital: ``A`` or ``B``.
        signs: Names of the signs; empty for normal images.
        spacing: Pixel spacing, mm.
    """

    pixels: Map
    lungs: NDArray[np.bool_]
    lesion: NDArray[np.bool_]
    patient: int
    image: int
    disease: bool
    hospital: Hospital
    signs: tuple[str, ...]
    spacing: float


def make_phantom(
    patient: int,
    image: int = 0,
    disease: bool = False,
    hospital: Hospital = "A",
    seed: int = 0,
    size: int = 512,
) -> Phantom:
    """Draws one image.

    Args:
        patient: Number of the patient; fixes the anatomy and the disease.
        image: Number of the image; fixes the position, breath, exposure, noise and letters.
        disease: Whether to draw signs of disease into the lungs.
        hospital: ``A``: processed digital image, wide latitude; ``B``: steep image with stickers.
        seed: Seed of the whole collection.
        size: Longer side of the image, px.

    Returns:
        The image, the same for the same arguments on every machine with the same numpy.
    """
    place = 0 if hospital == "A" else 1
    body_rng = np.random.default_rng([seed, place, patient])
    image_rng = np.random.default_rng([seed, place, patient, image, 7])
    person = Patient.draw(body_rng)
    illness = Disease.draw(body_rng)
    pose = Pose.draw(image_rng)
    grid, crop = _frame_image(size, hospital, pose, image_rng)
    soft = draw_soft_parts(grid, person, pose, image_rng)
    attenuation, well = _sum_attenuation(
        grid, person, pose, soft, illness if disease else None, body_rng, image_rng
    )
    pixels = expose(attenuation, grid, hospital, image_rng)[crop]
    lungs, lesion = soft.mask[crop], (np.abs(attenuation - well) > VISIBLE)[crop]
    pixels = add_marks(collimate(pixels, hospital, image_rng), lungs, hospital, image_rng)
    return Phantom(
        pixels=np.ascontiguousarray(pixels),
        lungs=np.ascontiguousarray(lungs),
        lesion=np.ascontiguousarray(lesion),
        patient=patient,
        image=image,
        disease=disease,
        hospital=hospital,
        signs=illness.signs if disease else (),
        spacing=10.0 / grid.scale,
    )


def make_phantoms(count: int, seed: int = 0, size: int = 512) -> Iterator[Phantom]:
    """Yields `count` images of as many patients: both hospitals, half of them with disease."""
    rng = np.random.default_rng([seed, 3])
    for number in range(count):
        hospital: Hospital = "A" if rng.random() < 0.6 else "B"
        yield make_phantom(number, 0, bool(rng.random() < 0.5), hospital, seed, size)


def _frame_image(
    size: int, hospital: Hospital, pose: Pose, rng: np.random.Generator
) -> tuple[Grid, tuple[slice, slice]]:
    """The sheet of an image and the part of it that the image shows."""
    field = rng.normal(39.5 if hospital == "A" else 38.0, 1.6)  # cm along the longer side
    ratio = rng.uniform(0.86, 1.0) if hospital == "A" else rng.choice([1.0, 0.82])
    height, width = (
        (size, round(size * ratio)) if rng.random() < 0.35 else (round(size * ratio), size)
    )
    side = _fast_length(size + 2 * _MARGIN)
    top, left = (side - height) // 2, (side - width) // 2
    scale = size / field
    grid = Grid(
        side,
        side,
        scale,
        (top + height * (0.165 + rng.normal(0, 0.02)), side / 2 + rng.normal(0, 0.5) * scale),
        rng.normal(0, 0.022),
        pose.turn,
    )
    return grid, (slice(top, top + height), slice(left, left + width))


def _fast_length(n: int) -> int:
    """The next length whose Fourier transform is fast (only factors 2, 3, 5)."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1 and n % 2 == 0:
            return n
        n += 1


def _sum_attenuation(
    grid: Grid,
    person: Patient,
    pose: Pose,
    soft: Soft,
    illness: Disease | None,
    body_rng: np.random.Generator,
    image_rng: np.random.Generator,
) -> tuple[Map, Map]:
    """Line integrals of attenuation through the whole chest, dimensionless; as it is, and if well.

    Both are drawn by the same chance, so they differ by the disease alone.
    """
    tubes = Tubes(grid)
    draw_ribs(tubes, person, pose, body_rng)
    flat = draw_shoulder_girdle(tubes, grid, person, pose)
    draw_vessels(tubes, grid, soft.air > 1.0, pose, body_rng)
    draw_airways(tubes, pose, body_rng)
    bones = draw_spine(grid, person, body_rng)
    clouds = draw_clouds(image_rng, grid, 0.55, 2, 0.8)

    def project(air: Map) -> Map:
        body = np.maximum(soft.body, soft.air + 4.0 * (soft.air > 0)) + soft.extra
        tissue = np.maximum(body - air - soft.gas, 0)
        texture = 0.018 * clouds * np.minimum(air / 8, 1.5)
        total = SOFT * tissue + LUNG * air + flat + bones + tubes.path() + texture
        return np.asarray(np.maximum(total, 0), np.float32)

    well = project(soft.air)
    if illness is None:
        return well, well
    solid = add_disease(grid, soft.air, soft.mask, soft.domes, illness, tubes, body_rng)
    return project(soft.air - solid), well  # now with the nodules
