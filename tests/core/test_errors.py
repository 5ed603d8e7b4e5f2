"""The error that users see."""

from __future__ import annotations

from typing import get_args

from isnet_cli.errors import EXIT_CODES, IsnetError, Kind, UnreadableImage


def test_every_kind_has_its_own_code() -> None:
    assert set(EXIT_CODES) == set(get_args(Kind))
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
    for kind in get_args(Kind):
        assert IsnetError(kind, "x").exit_code == EXIT_CODES[kind]


def test_one_greppable_line_then_details_then_the_fix() -> None:
    error = IsnetError("data", "a: found, expected", fix="mend", details=("1", "2"))
    assert error.render() == "error[data]: a: found, expected\n  1\n  2\n  fix: mend"
    assert IsnetError("data", "a").render() == "error[data]: a"
    assert str(error) == "a: found, expected"


def test_a_image_that_cannot_be_used() -> None:
    fault = UnreadableImage("too_small", "3 x 3 pixels, expected 64")
    assert (fault.reason, str(fault)) == ("too_small", fault.detail)
