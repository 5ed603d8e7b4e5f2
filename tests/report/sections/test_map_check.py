"""Sanity checks of maps on the page: answers, figures, caveats."""

from __future__ import annotations

import dataclasses
from typing import Any

from isnet_cli.core.records.map_check import MapCheck
from isnet_cli.report.blocks import Picture, Table
from isnet_cli.report.results import RunResults
from isnet_cli.report.sections.map_check import build_map_check_section
from tests.report.sections.factory import letters, only, run, said


def cell(value: float | None) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "why": "no map can be compared", "n": 0}
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "method": "bootstrap", "n": 9}


def content(verdict: str = "change", lungs: float | None = 0.5) -> dict[str, Any]:
    alike = {"rank": cell(0.25), "ssim": cell(0.5)}
    groups = [
        {"modules": ["fc"], "cascading": {**alike, "rank": cell(0.75)}, "independent": alike},
        {"modules": ["a", "b"], "cascading": alike, "independent": alike},
    ]
    curve = {"mean": [0.9, 0.5, 0.1], "area": cell(0.5)}
    other = {"mean": None if lungs is None else [0.9, 0.5, 0.1], "area": cell(lungs)}
    orders = {"map": curve, "random": curve, "lungs": other}
    gains = {"random": cell(0.2), "lungs": cell(lungs)}
    found = {
        "method": "lrp flex", "images": 9,
        "randomisation": {
            "groups": groups, "other_images": alike, "limit": 0.5, "verdict": verdict,
        },
        "curves": {
            "share": [0.0, 0.5, 1.0], "fill": "the image blurred", "deletion": orders,
            "insertion": orders, "differences": {"deletion": gains, "insertion": gains},
            "verdict": "better",
        },
        "caveats": ["Deletion is odd."],
    }  # fmt: skip
    MapCheck.model_validate(found)
    return found


def checked(name: str = "one", **more: Any) -> RunResults:
    return dataclasses.replace(run(name), map_check=content(**more))


def test_questions_answers_and_figures() -> None:
    section = build_map_check_section([checked(lungs=None)])
    assert section is not None
    answers, areas = only(section, Table)
    assert [row[1].partition(":")[0] for row in answers.rows] == ["Yes", "Yes"]
    assert "0.250 [0.150, 0.350]" in answers.rows[0][2]
    assert "head alone 0.750" in answers.rows[0][2]
    assert areas.rows[0] == (
        "deletion", "0.500 [0.400, 0.600]", "0.500 [0.400, 0.600]", "n/a",
        "+0.200 [+0.100, +0.300]", "n/a",
    )  # fmt: skip
    assert any("the image blurred" in note for note in areas.notes)
    assert "Deletion is odd." in said(section)
    (picture,) = only(section, Picture)
    for words in ("maps of other images", "random order", "Insertion"):
        assert words in letters(picture)


def test_several_runs_and_none() -> None:
    plain = run("two")
    section = build_map_check_section([checked(verdict="stay"), plain])
    assert section is not None
    rows = only(section, Table)[0].rows
    assert [row[0] for row in rows] == ["one", "one"]
    assert rows[0][2].startswith("No")
    assert build_map_check_section([plain]) is None
