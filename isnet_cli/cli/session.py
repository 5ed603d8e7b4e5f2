"""One command from its options to its exit code: signals, errors, the two forms of the result."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from isnet_cli.cli.ending import end_in_time
from isnet_cli.cli.options import ScreenOptions
from isnet_cli.cli.terminal.console import Console
from isnet_cli.cli.terminal.crash import explain_machine_fault, format_trace, write_crash_file
from isnet_cli.cli.terminal.streams import write_error
from isnet_cli.core.parallel.processes import ALONE, Processes, are_several, join_processes
from isnet_cli.core.parallel.shares import WHOLE, Share
from isnet_cli.core.run_context import PARENT, RunContext
from isnet_cli.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED, IsnetError
from isnet_cli.guard.leftovers import clear_outside, name_folder_prefix
from isnet_cli.text.forms import for_line

if TYPE_CHECKING:
    from isnet_cli.config.schema import Config

SCHEMA = 2  # of the JSON documents
TOGETHER = ("run", "ingest", "masks", "train", "evaluate", "predict", "heatmap")  # by torchrun
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_FONTS = "MPLCONFIGDIR"  # variable: where matplotlib keeps its list of fonts
STOPPED = "stopped; the same command continues"
_STOPPED: dict[str, Any] = {"error": {"kind": "stopped"}}
_CODES = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}


@dataclass(frozen=True)
class Result:
    """What a verb found or made.

    Attributes:
        document: JSON-able content of ``--json``.
        text: The same as plain text; empty prints nothing.
        code: Exit code.
    """

    document: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    code: int = 0


class Session:
    """State of one command.

    Attributes:
        verb: Name of the command.
        console: Where messages go.
        folder: The run folder, once known; a crash report goes there.
        event: Appends to the run's log, once there is a run.
        stop_code: Exit code of the signal that asked for a stop; 0 when none came.
        processes: Those that torchrun started, once they have met.
        share: The part of a stage that was asked for.
    """

    def __init__(self, verb: str, options: ScreenOptions) -> None:
        self.verb = verb
        self.console = Console(
            quiet=options.quiet, verbose=options.verbose, progress=not options.no_progress
        )
        self.folder: Path | None = None
        self.event: Callable[..., None] = lambda name, **fields: None
        self.stop_code = 0
        self.processes: Processes = ALONE
        self.share: Share = WHOLE
        self._deadline: float | None = None
        self._parent = os.environ.pop(PARENT, None)  # not for processes of our own

    def stop_after(self, text: str | None) -> None:
        """Asks for an orderly stop after a time such as ``45m``; None: never.

        Raises:
            IsnetError: Kind "usage", when `text` is no time.
        """
        if text is None:
            return
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
        if found is None:
            raise IsnetError("usage", f"--stop-after {text}: expected a time as 90s, 45m or 8h")
        self._deadline = time.monotonic() + float(found[1]) * _SECONDS[found[2]]

    def stop_requested(self) -> bool:
        """Whether a signal came, the time is up, or the program that started this one is gone."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        orphaned = self._parent is not None and str(os.getppid()) != self._parent
        return late or orphaned or self.stop_code != 0

    def join(self) -> None:
        """Meets the other processes of this command; all but process 0 fall silent.

        Raises:
            IsnetError: As `join_processes`.
        """
        self.processes = join_processes()
        if not self.processes.leads:
            self.console.fall_silent()

    def hide_names(self, *configs: Config, more: Iterable[Path] = ()) -> None:
        """With ``data.privacy.rename``, nothing printed or logged shows a name of the input.

        Args:
            *configs: The configurations, once they are known.
            more: Further folders of input files.
        """
        renamed = [config for config in configs if config.data.privacy.rename]
        if renamed:
            from isnet_cli.ingest.input_names import find_input_names

            self.console.names = find_input_names(renamed, more)

    def context(self) -> RunContext:
        """The side effects that stages get."""
        return RunContext(
            progress=self.console.progress,
            say=self.console.say,
            warn=self._warn,
            event=self._event,
            stop_requested=self.stop_requested,
            processes=self.processes,
            share=self.share,
        )

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """First signal: asks for an orderly stop. Second: stops now."""
        if self.stop_code:
            raise KeyboardInterrupt
        self.stop_code = _CODES[signal.Signals(number)]
        self.console.say("stopping in good order; once more stops at once")

    def _warn(self, category: str, text: str) -> None:
        shown = self.console.warn(category, text)
        self.event("warning", category=category, text=shown)

    def _event(self, name: str, **fields: Any) -> None:
        fields = self.console.names.hide_all(fields)
        facts = " ".join(f"{key}={value}" for key, value in fields.items())
        self.console.detail(f"{name} {facts}".rstrip())
        self.event(name, **fields)


def execute(verb: str, options: ScreenOptions, body: Callable[[Session], Result]) -> int:
    """Runs `body`, prints its result or its failure, and returns the exit code."""
    # Waiting threads that spin make work beside other programs ten times slower. Read by torch's
    # OpenMP when it is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    session = Session(verb, options)
    handlers = {number: signal.getsignal(number) for number in _CODES}
    try:
        with (
            _foreign_texts(options.verbose),
            _own_temporary_folder(),
            end_in_time(_CODES, lambda code: _broken_off(session, options, code)),
        ):
            for number in handlers:
                signal.signal(number, session.on_signal)
            _refuse_several(verb)
            result = body(session)
            session.processes.leave()
        return _delivered(session, options, result)
    except IsnetError as error:
        return _failed(session, options, error)
    except KeyboardInterrupt:
        session.console.say(STOPPED)
        return _ended(session, options, _STOPPED, session.stop_code or EXIT_INTERRUPTED)
    except Exception as error:
        return _crashed(session, options, error)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _refuse_several(verb: str) -> None:
    """Refuses torchrun for verbs whose processes would all do the same.

    Raises:
        IsnetError: Kind "usage".
    """
    if are_several() and verb not in TOGETHER:
        raise IsnetError(
            "usage",
            f"isnet {verb} in several processes, expected one",
            fix=f"isnet {verb} without torchrun; several can do: {', '.join(TOGETHER)}",
        )


def _broken_off(session: Session, options: ScreenOptions, code: int) -> None:
    """The last words of a command that does not come to an end by itself."""
    write_error(STOPPED)
    _ended(session, options, _STOPPED, code)


def _delivered(session: Session, options: ScreenOptions, result: Result) -> int:
    """Prints the result; raises when stdout cannot be written."""
    if options.json:
        session.console.document(_document(session, result.document, result.code))
    elif result.text:
        session.console.result(result.text)
    return result.code


@contextlib.contextmanager
def _foreign_texts(verbose: int) -> Iterator[None]:
    """Keeps texts of foreign libraries from stderr: they may quote values of the input.

    With ``-vv`` their warnings are shown by kind and place, those of torch in full.
    """

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        place = filename.partition("site-packages/")[2] or filename
        said = f": {message}" if place.startswith("torch/") else ""
        write_error(for_line(f"{category.__name__} at {place}:{lineno}{said}"))

    import logging  # not for `isnet --help`

    nowhere = logging.NullHandler()  # Python prints what no handler takes
    logging.root.addHandler(nowhere)
    try:
        with warnings.catch_warnings():
            if verbose < 2:
                warnings.simplefilter("ignore")
            else:
                warnings.showwarning = show
            yield
    finally:
        logging.root.removeHandler(nowhere)


@contextlib.contextmanager
def _own_temporary_folder() -> Iterator[None]:
    """One folder for all that libraries put into the system's place for temporary files.

    Those are the sockets and shared memory of worker processes, and matplotlib's list of fonts,
    which would go into the user's home. The folder is named so that the next start removes it
    after a kill.
    """
    names = {"TMPDIR": os.environ.get("TMPDIR"), _FONTS: os.environ.get(_FONTS)}
    before, place = tempfile.tempdir, _find_temporary_place()
    try:
        # where there is no such place, only what needs one fails, and says so
        if place is None:
            raise FileNotFoundError
        clear_outside(Path(place))
        # no TemporaryDirectory: where nothing may be removed it tries again without end
        folder = tempfile.mkdtemp(prefix=name_folder_prefix(), dir=place)
    except OSError:
        yield
        return
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    os.environ.setdefault(_FONTS, folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        for name, value in names.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _remove_at_last(folder)


def _remove_at_last(folder: str) -> None:
    """Removes `folder`; only at the process's end where multiprocessing has its own place in it.

    Multiprocessing keeps using that place, and removes it at the end itself (priority -100).
    """
    if any(Path(folder).glob("pymp-*")):
        from multiprocessing.util import Finalize  # not for `isnet --help`

        Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-200)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _find_temporary_place() -> str | None:
    """The folder that `tempfile` would choose, without the file that it writes there to try it.

    A process that is killed meanwhile would leave that one behind, under a name of nobody's.
    """
    if tempfile.tempdir is not None:
        return tempfile.tempdir
    if os.name == "nt":
        return tempfile.gettempdir()
    named = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    for folder in (*named, "/tmp", "/var/tmp", "/usr/tmp", os.curdir):  # noqa: S108 - as Python's
        if folder and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):
            return os.path.abspath(folder)
    return None


def _failed(session: Session, options: ScreenOptions, error: IsnetError) -> int:
    if not session.processes.is_first_to_fail():
        return error.exit_code  # one error is printed, not one of each process
    session.console.fail(error)
    if error.__cause__ is not None:
        session.console.trace(format_trace(error.__cause__))
    content = {
        "kind": error.kind,
        "message": error.message,
        "details": list(error.details),
        "fix": error.fix,
    }
    with contextlib.suppress(Exception):  # the log may be what failed
        session.event("failed", kind=error.kind)
    return _ended(session, options, {"error": content}, error.exit_code)


def _crashed(session: Session, options: ScreenOptions, error: Exception) -> int:
    fault = explain_machine_fault(error, session.folder)
    if fault is not None:
        fault.__cause__ = error
        return _failed(session, options, fault)
    if not session.processes.is_first_to_fail():
        return EXIT_BUG
    written = write_crash_file(session.folder, error)
    session.console.trace(format_trace(error))
    name = type(error).__name__
    advice = f"details without patient data in {written}" if written else "-vv shows where"
    write_error(for_line(f"error[bug]: unexpected {name}; {advice}; please report it"))
    return _ended(session, options, {"error": {"kind": "bug", "message": name}}, EXIT_BUG)


def _ended(session: Session, options: ScreenOptions, content: dict[str, Any], code: int) -> int:
    """Prints the document of a failure; a stdout that fails too does not hide it."""
    if options.json:
        with contextlib.suppress(IsnetError):
            session.console.document(_document(session, content, code))
    return code


def _document(session: Session, content: dict[str, Any], code: int) -> dict[str, Any]:
    head = {"schema": SCHEMA, "verb": session.verb, "exit_code": code}
    rest = {key: value for key, value in content.items() if key not in head}
    return {**head, **rest, "warnings": session.console.warnings}
