"""A collection's files are readable, its forms say nothing about the disease, its plan repeats."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.read import read_images
from isnet_cli.phantoms.collection import ImagePlan, draw_image, plan_images
from isnet_cli.phantoms.phantom import make_phantom

PLAN = ImagePlan("A", 3, 0, True, "dicom12", 5, 128)


@pytest.mark.parametrize(
    "kind",
    ["dicom12", "dicom12_inverted", "dicom16_rle", "dicom12_inverted_rle", "png16", "png8"],
)
def test_every_form_is_read_back_as_the_same_image(tmp_path: Path, kind: str) -> None:
    plan = replace(PLAN, kind=kind)
    draw_image(plan, tmp_path / "image", tmp_path / "lungs.png", tmp_path / "lesion.png")
    (image,) = read_images(tmp_path / "image")
    drawn = make_phantom(3, 0, True, "A", 5, 128)
    step = 1 / 255 if kind == "png8" else 1 / 4095
    assert np.abs(image.pixels - drawn.pixels).max() <= 0.51 * step + 1e-6
    assert np.array_equal(load_mask(tmp_path / "lungs.png"), drawn.lungs)
    assert np.array_equal(load_mask(tmp_path / "lesion.png"), drawn.lesion)
    assert image.bits == {"png8": 8, "png16": 16, "dicom16_rle": 16}.get(kind, 12)


def test_plan_is_balanced_and_repeats() -> None:
    plans = plan_images(60, 20, 1, 128)
    assert plans == plan_images(60, 20, 1, 128)
    assert plans != plan_images(60, 20, 2, 128)
    ill = {(p.hospital, p.patient): p.disease for p in plans}
    assert Counter(ill.values()) == {True: 40, False: 40}
    assert len({p.file for p in plans}) == len(plans)
    assert len({p.key for p in plans}) == len(plans)
    assert any(p.image == 1 for p in plans)


def test_form_of_the_file_does_not_tell_the_disease() -> None:
    plans = [p for p in plan_images(2000, 0, 0, 128) if p.image == 0]
    for kind in {p.kind for p in plans}:
        share = np.mean([p.disease for p in plans if p.kind == kind])
        assert abs(share - 0.5) < 0.08, kind


def test_row_names_file_patient_hospital_and_label() -> None:
    assert PLAN.row() == {
        "file": "hospital_a/p003/film0.dcm",
        "patient": "A003",
        "hospital": "A",
        "label": "disease",
    }
    assert replace(PLAN, disease=False, image=1).row()["label"] == "normal"
    assert replace(PLAN, image=1).file == "hospital_a/p003/film1"
    assert replace(PLAN, kind="png8").key == "hospital_a/p003/film0"
