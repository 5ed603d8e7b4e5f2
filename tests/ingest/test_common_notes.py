from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.ingest.common_notes import find_common_notes
from tests.images.dicom.factory import image_values
from tests.images.factory import png_bytes
from tests.ingest.factory import Messages, config, png, run_ingest

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


def test_a_later_command_repeats_the_warning(tmp_path: Path) -> None:
    for seed in range(3):
        path = png(tmp_path / f"xrays/{seed}.png", seed)
        path.write_bytes(png_bytes(image_values(12, seed=seed), 16))
    settings, folder = config(tmp_path), tmp_path / "run"
    told = []
    for status in ("done", "current"):
        messages = Messages()
        assert run_ingest(folder, settings, messages).status == status
        told.append([text for text in messages.warned if NARROW in text])
    assert len(told[0]) == 1
    assert told[1] == told[0]
