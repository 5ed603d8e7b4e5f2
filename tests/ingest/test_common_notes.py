from __future__ import annotations

import pytest

from isnet_cli.ingest.common_notes import find_common_notes

NARROW = "narrow: spans 6% of its range of bits"


def test_a_note_on_most_images_is_a_warning_with_count_and_advice() -> None:
    (found,) = find_common_notes([f"inverted; {NARROW}"] * 5 + [""])
    assert found.severity == "warning"
    assert found.text == f"5 of 6 images: {NARROW}"
    assert "data.scale: range" in found.fix


def test_numbers_do_not_part_what_belongs_together() -> None:
    notes = [f"narrow: spans {n}% of its range of bits" for n in (5, 6, 6, 7)]
    (found,) = find_common_notes(notes)
    assert found.text == f"4 of 4 images: {NARROW}, and the like"


@pytest.mark.parametrize("notes", [[NARROW] * 2, [NARROW] * 3 + [""] * 3, [], [""] * 9])
def test_few_images_are_no_warning(notes: list[str]) -> None:
    assert find_common_notes(notes) == []


@pytest.mark.parametrize(
    "note",
    [
        *("full range of 12 bits", "window linear", "window linear 2 of 3", "window sigmoid"),
        *("VOI LUT", "modality LUT", "rescale", "inverted", "padding 10%", "colour"),
    ],
)
def test_what_the_reader_does_as_a_rule_is_no_warning(note: str) -> None:
    assert find_common_notes([note] * 9) == []


@pytest.mark.parametrize(
    "note",
    [
        "PixelRepresentation is missing, 0 taken",
        "window linear does not fit the image, not used",
        "VOI LUT is malformed, not used",
        "values need 12 bits, 8 are declared",
        "damaged: a checksum is wrong (PNG)",
        "something that nobody has thought of",
    ],
)
def test_any_other_note_is(note: str) -> None:
    assert len(find_common_notes([f"rescale; {note}"] * 4)) == 1
