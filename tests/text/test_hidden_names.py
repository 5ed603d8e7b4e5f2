"""Names of the input in messages: found in every spelling, and taken out."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.text.hidden_names import HIDDEN, HiddenNames

NAMES = HiddenNames(
    ["Smith_Anna/scan 01.dcm", "Smith_Anna", "Müller^Ötzi", "10023456", "p1x", "017", "images"],
    shown=["/data/Smith_Anna runs", "sick"],
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("first: 'Smith_Anna/scan 01.dcm', next", f"first: '{HIDDEN}', next"),
        ("smith-anna\\SCAN 01.dcm", HIDDEN),
        ("MÜLLER^ÖTZI and mu\u0308ller ötzi", f"{HIDDEN} and {HIDDEN}"),
        ("patient 10023456 of 12 images", f"patient {HIDDEN} of 12 images"),
        ("image 017, share 0.017", f"image {HIDDEN}, share 0.017"),
        ("/data/Smith_Anna runs/Smith_Anna", f"/data/Smith_Anna runs/{HIDDEN}"),
        ("no name: p1, smith", "no name: p1, smith"),
        ("", ""),
    ],
)
def test_names_are_hidden_in_every_spelling(text: str, shown: str) -> None:
    assert NAMES.hide(text) == shown


def test_keys_of_documents_stay_apart() -> None:
    content = {"p1x": [Path("a/Smith_Anna")], "10023456": 1, "n": None}
    assert NAMES.hide_all(content) == {HIDDEN: [f"a/{HIDDEN}"], f"{HIDDEN} 2": 1, "n": None}


def test_without_names_nothing_changes() -> None:
    assert not HiddenNames()
    assert HiddenNames(["x", "12", "image"]).hide("x 12 image") == "x 12 image"
