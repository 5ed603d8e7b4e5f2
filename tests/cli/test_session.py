"""One command around its body: exit codes, JSON, signals, crashes, foreign warnings."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.cli.options import ScreenOptions
from isnet_cli.cli.session import Result, Session, _own_temporary_folder, execute
from isnet_cli.errors import IsnetError

Body = Callable[[Session], Result]
SECRET = "CANARY^PATIENT"


def fails(error: BaseException) -> Body:
    def body(session: Session) -> Result:
        raise error

    return body


def test_a_result_is_printed_and_its_code_returned(capsys: pytest.CaptureFixture[str]) -> None:
    code = execute("x", ScreenOptions(), lambda session: Result({"a": 1}, "text", 7))
    assert (code, capsys.readouterr().out) == (7, "text\n")


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    def body(session: Session) -> Result:
        session.context().warn("data", "odd")
        return Result({"a": "ä"}, "text")

    assert execute("x", ScreenOptions(json=True), body) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "schema": 2,
        "verb": "x",
        "exit_code": 0,
        "a": "ä",
        "warnings": ["warning[data]: odd"],
    }
    assert captured.err == "warning[data]: odd\n"


@pytest.mark.parametrize(
    ("kind", "code"), [("usage", 2), ("config", 3), ("data", 4), ("weights", 5), ("machine", 6)]
)
def test_each_kind_of_failure_has_its_code(
    kind: Any, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    error = IsnetError(kind, "where: found, expected", fix="type this", details=("one", "two"))
    assert execute("x", ScreenOptions(), fails(error)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"error[{kind}]: where: found, expected\n  one\n  two\n  fix: type this\n"
    )
    assert execute("x", ScreenOptions(json=True), fails(error)) == code
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code
    assert found["error"] == {
        "kind": kind,
        "message": "where: found, expected",
        "details": ["one", "two"],
        "fix": "type this",
    }


def test_a_bug_leaves_a_report_without_the_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(session: Session) -> Result:
        session.folder = tmp_path
        raise ValueError(SECRET)

    assert execute("x", ScreenOptions(), body) == 1
    captured = capsys.readouterr()
    assert captured.err == (
        "error[bug]: unexpected ValueError; details without patient data in"
        f" {tmp_path / 'crash.txt'}; please report it\n"
    )
    text = (tmp_path / "crash.txt").read_text(encoding="utf-8")
    assert "builtins.ValueError" in text
    assert "in body" in text
    assert SECRET not in text


def test_a_bug_before_there_is_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute("x", ScreenOptions(json=True), fails(KeyError(SECRET))) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"] == {"kind": "bug", "message": "KeyError"}
    assert SECRET not in captured.err + captured.out
    assert "-vv shows where" in captured.err


def test_tracebacks_are_for_vv_alone(capsys: pytest.CaptureFixture[str]) -> None:
    execute("x", ScreenOptions(verbose=1), fails(ValueError("boom")))
    assert "Traceback" not in capsys.readouterr().err
    execute("x", ScreenOptions(verbose=2), fails(ValueError("boom")))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "/x/y: permission denied"),
        (MemoryError(), "out of memory"),
    ],
)
def test_the_machines_faults_are_code_6(
    error: Exception, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute("x", ScreenOptions(), fails(error)) == 6
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_for_an_orderly_stop(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(session: Session) -> Result:
        context = session.context()
        assert not context.stop_requested()
        os.kill(os.getpid(), number)
        assert context.stop_requested()
        return Result(code=session.stop_code)

    before = signal.getsignal(number)
    assert execute("x", ScreenOptions(), body) == code
    assert "stopping in good order" in capsys.readouterr().err
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_stops_at_once(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(session: Session) -> Result:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        raise AssertionError("not reached")

    assert execute("x", ScreenOptions(json=True), body) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["exit_code"] == code
    assert "the same command continues" in captured.err


def test_time_that_is_up_asks_for_a_stop_without_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for text, seconds in (("90s", 90), ("1.5m", 90), ("2h", 7200)):
        session = Session("x", ScreenOptions())
        session.stop_after(text)
        now[0] += seconds - 1
        assert not session.context().stop_requested()
        now[0] += 1
        assert session.context().stop_requested()
        assert session.stop_code == 0


def test_no_time_is_never_and_nonsense_is_refused() -> None:
    session = Session("x", ScreenOptions())
    session.stop_after(None)
    assert not session.stop_requested()
    for text in ("soon", "5", "5d", "-1h", ""):
        with pytest.raises(IsnetError, match="expected a time"):
            session.stop_after(text)


def test_events_reach_the_log_and_with_v_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def body(session: Session) -> Result:
        session.event = lambda name, **fields: seen.append((name, fields))
        session.context().event("epoch", loss=0.5)
        session.context().warn("masks", "odd")
        return Result()

    execute("x", ScreenOptions(), body)
    assert seen == [("epoch", {"loss": 0.5}), ("warning", {"category": "masks", "text": "odd"})]
    assert "epoch loss" not in capsys.readouterr().err
    execute("x", ScreenOptions(verbose=1), body)
    assert "epoch loss=0.5" in capsys.readouterr().err


def test_foreign_warnings_are_silent_since_they_may_quote_values(
    recwarn: pytest.WarningsRecorder,
) -> None:
    def body(session: Session) -> Result:
        warnings.warn(SECRET, UserWarning, stacklevel=1)
        return Result()

    assert execute("x", ScreenOptions(), body) == 0
    assert not recwarn.list


def test_all_that_libraries_leave_lies_in_one_folder_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written beside it, not even for a moment: a kill would leave it behind."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    opened = []
    monkeypatch.setattr(tempfile, "_get_default_tempdir", lambda *a: opened.append(a))
    with _own_temporary_folder():
        folder = Path(os.environ["MPLCONFIGDIR"])
        assert list(tmp_path.iterdir()) == [folder]
        assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(folder)
        (folder / "fontlist.json").touch()
        (Path(tempfile.mkdtemp()) / "socket").touch()
    assert list(tmp_path.iterdir()) == []
    assert "MPLCONFIGDIR" not in os.environ
    assert (tempfile.tempdir, os.environ["TMPDIR"], opened) == (None, str(tmp_path), [])
    monkeypatch.setenv("MPLCONFIGDIR", "/chosen")
    with _own_temporary_folder():
        assert os.environ["MPLCONFIGDIR"] == "/chosen"
    assert os.environ["MPLCONFIGDIR"] == "/chosen"


def test_a_folder_of_a_killed_process_goes_with_the_next_start(
    tmp_path: Path, child_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, signal, tempfile\n"
        "from isnet_cli.cli.session import _own_temporary_folder\n"
        "with _own_temporary_folder():\n"
        "    open(os.path.join(tempfile.mkdtemp(prefix='pymp-'), 'x'), 'w').close()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**child_environment, "TMPDIR": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("isnet-")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with _own_temporary_folder():
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_multiprocessing_made_goes_at_the_end_without_a_word(
    tmp_path: Path, child_environment: dict[str, str]
) -> None:
    """It keeps using its place after the command, and expects it when the process ends."""
    code = (
        "import os\n"
        "from multiprocessing.util import get_temp_dir\n"
        "from isnet_cli.cli.session import _own_temporary_folder\n"
        "for _ in range(2):\n"
        "    with _own_temporary_folder():\n"
        "        place = get_temp_dir()\n"
        "    assert os.path.isdir(place)\n"
    )
    environment = {**child_environment, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_may_be_removed_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a disk becomes read-only meanwhile."""

    def refuse(*words: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as patch, _own_temporary_folder():
        (Path(tempfile.gettempdir()) / "x").touch()
        for name in ("unlink", "rmdir", "chmod"):
            patch.setattr(os, name, refuse)
    assert tempfile.tempdir == str(tmp_path)


def test_without_a_place_for_temporary_files_commands_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with _own_temporary_folder():
        assert tempfile.tempdir == str(tmp_path / "gone")


def test_a_log_that_fails_does_not_hide_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(session: Session) -> Result:
        session.folder = tmp_path / "gone"

        def closed(name: str, **fields: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", "log.jsonl")

        session.event = closed
        session.context().event("started")
        return Result()

    assert execute("x", ScreenOptions(json=True), body) == 6
    captured = capsys.readouterr()
    assert captured.err.startswith("error[machine]: log.jsonl: permission denied\n")
    assert json.loads(captured.out)["exit_code"] == 6


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file"), "disk full"),
        (OSError(errno.EFBIG, "File too large"), "disk full"),
        (OSError(errno.EIO, "Input/output error", "/x"), "/x: input/output error"),
        (OSError(errno.EMFILE, "Too many open files", "/x"), "/x: too many open files"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found"), "TMPDIR"),
    ],
)
def test_faults_of_the_system_are_no_bugs(
    error: Exception, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute("x", ScreenOptions(), fails(error)) == 6
    assert text in capsys.readouterr().err


def test_a_run_folder_that_is_removed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(session: Session) -> Result:
        session.folder = tmp_path / "run"
        session.folder.mkdir()
        session.folder.rmdir()
        (session.folder / "x").write_text("x")
        return Result()

    assert execute("x", ScreenOptions(), body) == 6
    assert "run: the run folder cannot be made, or was removed" in capsys.readouterr().err


def test_texts_of_libraries_and_errors_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def body(session: Session) -> Result:
        warnings.warn(SECRET, stacklevel=1)
        logging.getLogger("pydicom").warning(SECRET)
        raise ValueError(SECRET) from KeyError(SECRET)

    for verbose in (0, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert execute("x", ScreenOptions(verbose=verbose), body) == 1
        captured = capsys.readouterr()
        assert SECRET not in captured.err
    assert "UserWarning at " in captured.err
    assert "builtins.KeyError" in captured.err


def test_nothing_of_an_input_acts_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    bad = "a\x1b[2J\nb\u202e[bold]"

    def body(session: Session) -> Result:
        session.console.say(bad)
        session.context().warn("data", bad)
        raise IsnetError("data", bad, details=(bad,), fix=bad)

    assert execute("x", ScreenOptions(), body) == 4
    err = capsys.readouterr().err
    shown = "a\\x1b[2J\\nb\\u202e[bold]"
    assert err.splitlines() == [
        shown, f"warning[data]: {shown}", f"error[data]: {shown}", f"  {shown}", f"  fix: {shown}",
    ]  # fmt: skip
