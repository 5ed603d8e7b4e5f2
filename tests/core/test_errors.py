"""The error that users see."""

from __future__ import annotations

from typing import get_args

from isnet_cli.errors import EXIT_CODES, IsnetError, Kind, UnreadableImage, explain_error
from tests.support.paths import ROOT


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


def test_what_was_found_may_be_of_any_length() -> None:
    """Both ends of a message stay: where it is, and what was expected."""
    text = f"model.json: {'x' * 100_000}: unknown key, expected a known one"
    for shown in (
        IsnetError("data", text, details=(text,)).render(), UnreadableImage("a", text).detail,
    ):  # fmt: skip
        assert len(shown) < 6000
        assert "model.json: x" in shown
        assert shown.endswith("x: unknown key, expected a known one")
    assert IsnetError("data", "y" * 3000).message == "y" * 3000


def every_exception(base: type[BaseException] = Exception) -> list[type[BaseException]]:
    found = [base]
    for kind in base.__subclasses__():
        found += every_exception(kind)
    return found


TEXT = "'NoneType' object has no attribute 'x' in Canary"


def test_no_explanation_is_an_exceptions_name_or_text() -> None:
    """Over every exception of Python and of the libraries that are loaded."""
    kinds = [kind for kind in every_exception() if not kind.__module__.startswith("isnet_")]
    assert len(kinds) > 60
    for kind in kinds:
        try:
            error = kind.__new__(kind, TEXT)
            error.args = (TEXT,)
        except Exception:  # noqa: S112 - it cannot be made from Python, or is frozen
            continue
        words = explain_error(error)
        assert words, kind
        assert words[0].islower(), kind
        assert "Canary" not in words, kind
        assert "Error" not in words, kind
        assert kind.__name__.lower() not in words.split(), kind


def test_what_this_program_says_is_kept() -> None:
    assert explain_error(UnreadableImage("depth", "32 bits")) == "32 bits"
    assert explain_error(IsnetError("data", "x.csv: empty")) == "x.csv: empty"
    assert explain_error(ValueError("ours"), (ValueError,)) == "ours"
    theirs = UnicodeDecodeError("utf-8", b"x", 0, 1, "theirs")
    assert "theirs" not in explain_error(theirs, (ValueError,))
    assert explain_error(PermissionError(13, "Permission denied", "/secret")) == "permission denied"


def test_no_message_of_these_folders_names_an_exception() -> None:
    folders = ("images", "ingest", "masks", "inference", "evaluate", "heatmap", "check", "output")
    for folder in folders:
        for path in sorted((ROOT / "isnet_cli" / folder).rglob("*.py")):
            assert "type(error).__name__" not in path.read_text(encoding="utf-8"), path
