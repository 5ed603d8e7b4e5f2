"""Views, modalities and body parts as tables state them."""

from __future__ import annotations

import pytest

from isnet_cli.labels.statements import find_modality, read_statement


@pytest.mark.parametrize(
    ("view", "modality", "part", "reason"),
    [
        ("PA", "CT", "", "modality"),
        ("Axial", "", "", "modality"),
        ("Coronal", "X-ray", "", "modality"),
        ("CT axial", "", "", "modality"),
        ("", "MRI", "", "modality"),
        ("", "ultrasound", "", "modality"),
        ("", "computed tomography", "CHEST", "modality"),
        ("", "PET/CT", "", "modality"),
        ("", "SR", "", "modality"),
        ("PA", "DX", "abdomen", "body_part"),
        ("PA", "", "left_hand", "body_part"),
        ("PA", "X-ray", "CHEST", ""),
        ("AP axial", "CR", "chest and abdomen", ""),
        ("", "something else", "thorax", ""),
        ("", "", "", ""),
    ],
)
def test_what_rules_an_image_out(view: str, modality: str, part: str, reason: str) -> None:
    fault = read_statement([view], [modality], [part]).fault
    assert (fault[0] if fault else "") == reason
    assert fault is None or fault[1].endswith(", by the label file")


def test_the_first_view_that_decides_counts() -> None:
    assert read_statement(["", "oblique", "L", "PA"], [], []).view == "lateral"
    assert read_statement(["AP Supine"], [], []).view == "frontal"


def test_unknown_words_are_kept_and_told() -> None:
    assert read_statement(["PA"], ["plate"], []).odd == "plate"
    assert find_modality("plate") is None
    assert [find_modality(x) for x in ("nan", "X-Ray", "x ray", "cr", "Radiograph")] == [
        "", "DX", "DX", "CR", "DX",
    ]  # fmt: skip
