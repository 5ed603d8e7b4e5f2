"""What is said of unexpected errors, and what is not."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from isnet_cli.cli.terminal.crash import describe, explain_machine_fault, write_crash_file

SECRET = "CANARY^PATIENT"


def caught() -> Exception:
    try:
        try:
            Path(f"/nowhere/{SECRET}").read_text(encoding="utf-8")
        except OSError as error:
            raise RuntimeError(SECRET) from error
    except RuntimeError as error:
        return error
    raise AssertionError


def test_types_and_places_without_messages() -> None:
    text = describe(caught())
    assert "builtins.RuntimeError" in text
    assert "builtins.FileNotFoundError" in text
    assert "in caught" in text
    assert SECRET not in text
    assert str(Path.home()) not in text


def test_code_is_named_relative_to_where_it_was_found() -> None:
    lines = [line for line in describe(caught()).splitlines() if "in caught" in line]
    assert lines
    assert all(not line.strip().startswith("/") for line in lines)


def test_a_report_needs_a_folder(tmp_path: Path) -> None:
    assert write_crash_file(None, caught()) is None
    assert write_crash_file(tmp_path / "none", caught()) is None
    path = write_crash_file(tmp_path, caught())
    assert path == tmp_path / "crash.txt"


class OutOfMemoryError(RuntimeError):
    """Named like torch's, which is told by its name so that torch need not be imported."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "x"), "disk full"),
        (OSError(errno.EDQUOT, "x"), "disk full"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), "/a: read-only file system"),
        (MemoryError(), "out of memory"),
        (OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "out of memory",
        ),
    ],
)
def test_faults_of_the_machine(error: Exception, text: str) -> None:
    found = explain_machine_fault(error)
    assert found is not None
    assert found.exit_code == 6
    assert text in found.message
    assert found.fix


@pytest.mark.parametrize("error", [ValueError(), RuntimeError("x"), OSError(errno.ENOENT, "x")])
def test_other_errors_are_ours(error: Exception) -> None:
    assert explain_machine_fault(error) is None
