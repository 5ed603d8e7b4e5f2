"""Patients that only the paths name."""

from __future__ import annotations

import pytest

from isnet_cli.labels.path_patterns import find_in_path, is_pattern, propose_patient_pattern


@pytest.mark.parametrize(
    ("paths", "patients"),
    [
        (("train/patient00001/study1/v.jpg", "train/patient00001/study2/v.jpg",
          "train/patient00002/study1/v.jpg"), ["patient00001", "patient00001", "patient00002"]),
        (("p10/p10000032/s501/a.jpg", "p10/p10000032/s502/b.jpg", "p11/p11000041/s503/c.jpg"),
         ["p10000032", "p10000032", "p11000041"]),
        (("sub-01/ses-1/x.png", "sub-01/ses-2/x.png", "sub-02/ses-1/x.png"),
         ["sub-01", "sub-01", "sub-02"]),
        (("sub-01_ses-1.png", "sub-01_ses-2.png", "sub-02_ses-1.png"),
         ["sub-01", "sub-01", "sub-02"]),
        (("Patient 3/1.png", "Patient 3/2.png", "patient 4/1.png"),
         ["Patient 3", "Patient 3", "patient 4"]),
        (("Proband001/1.png", "Proband001/2.png", "Proband002/1.png"),
         ["Proband001", "Proband001", "Proband002"]),
        (("P1/1.png", "P1/2.png", "P12/1.png"), ["P1", "P1", "P12"]),
        (("10001/1.png", "10001/2.png", "20023/9.png"), ["10001", "10001", "20023"]),
        (("tb/p1_1.png", "tb/p1_2.png", "normal/p2_1.png"), ["p1", "p1", "p2"]),
    ],
)  # fmt: skip
def test_folders_that_repeat_like_patients(paths: tuple[str, ...], patients: list[str]) -> None:
    setting = propose_patient_pattern(paths)
    assert is_pattern(setting)
    assert [find_in_path(setting, "patient", path) for path in paths] == patients


@pytest.mark.parametrize(
    "paths",
    [
        (),
        ("a/1.png", "a/2.png", "b/1.png"),
        ("2019/1.png", "2019/2.png", "2020/1.png"),
        ("20190102/1.png", "20190102/2.png", "20200102/1.png"),
        ("images_001/1.png", "images_001/2.png", "images_002/1.png"),
        ("study1/1.png", "study1/2.png", "study2/1.png"),
        ("patient1/1.png", "patient1/2.png"),
        ("patient1/1.png", "patient2/2.png"),
        ("patient1/1.png", "patient1/2.png", "patient2/3.png", "x/4.png", "y/5.png"),
    ],
)
def test_other_folders_are_no_patients(paths: tuple[str, ...]) -> None:
    assert propose_patient_pattern(paths) == ""


def test_groups_of_a_pattern() -> None:
    path = "siteA/p7/1.png"
    assert find_in_path(r"path:p\d+", "patient", path) == "p7"
    assert find_in_path(r"path:p(\d+)", "patient", path) == "7"
    assert find_in_path(r"path:(?P<source>site\w)/(?P<patient>p\d+)", "patient", path) == "p7"
    assert find_in_path(r"path:(?P<source>site\w)/(?P<patient>p\d+)", "source", path) == "siteA"
    assert find_in_path("path:q", "patient", path) == ""
    assert not is_pattern(None)
    assert not is_pattern("patient")
