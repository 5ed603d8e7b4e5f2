"""A process that has imported everything and forks a child for each `isnet` command.

Importing torch takes longer than the commands of these trials. The children do what a fresh process
does after its imports; a test compares the two. Run as ``python -m tests.trust.zygote``; it reads
one JSON request a line from stdin and answers with one JSON line (`tests.trust.commands`).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import multiprocessing.util
import os
import pkgutil
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

SUBREAPER = 36  # prctl(2): orphans of the children become ours, so that none is lost from sight
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
PAIRS = ("os.rename", "os.link", "os.symlink")
RUNS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class",
        "socket.connect", "os.fork")  # fmt: skip
ORPHANS_SECONDS = 30.0  # how long processes may outlive the killed one


def main() -> None:
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    _import_everything()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_serve(json.loads(line), answers)), file=answers, flush=True)


def _import_everything() -> None:
    import isnet_cli
    import isnet_models

    for package in (isnet_cli, isnet_models):
        for entry in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(entry.name)
    for name in ("matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg", "SimpleITK",
                 "scipy.stats", "sklearn.metrics", "jinja2", "highdicom", "pydicom",
                 "segmentation_models_pytorch", "torch._dynamo"):  # fmt: skip
        importlib.import_module(name)


def _serve(request: dict[str, Any], answers: Any) -> list[dict[str, Any]]:
    """Runs one command, or copies of it at the same time.

    Args:
        request: ``words`` of each copy; ``cwd``; ``after`` seconds, at which the first is killed;
            ``tweaks``, functions of `tests.trust.tweaks` called before; ``env``; and as `_Watch`.
        answers: The pipe to the trial, which the children must not hold.
    """
    started = time.monotonic()
    children = [_fork(request, words, answers) for words in request["commands"]]
    if request.get("after") is not None and not _await(children[0][0], started + request["after"]):
        os.kill(children[0][0], signal.SIGKILL)
    found = []
    for child, reading in children:
        _, status = os.waitpid(child, 0)
        with os.fdopen(reading, "r") as pipe:
            seen = pipe.read()
        found.append(
            {
                "code": os.waitstatus_to_exitcode(status),
                "seconds": time.monotonic() - started,
                "steps": 0, "outside": [], "started": [],
                **(json.loads(seen) if seen else {}),
            }
        )  # fmt: skip
    orphans = _await_orphans(time.monotonic() + ORPHANS_SECONDS)
    return [{**one, "orphans": orphans} for one in found]


def _fork(request: dict[str, Any], words: list[str], answers: Any) -> tuple[int, int]:
    """A child that runs ``isnet WORDS``: its id, and the pipe on which it reports."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        os.close(reading)
        answers.close()
        code = _run({**request, "words": words}, writing)
    except BaseException:  # a bug of the program must be seen as one
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            multiprocessing.util._exit_function()  # type: ignore[attr-defined]  # as every process
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _run(request: dict[str, Any], writing: int) -> int:
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.update(request.get("env") or {})
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    import tempfile

    tempfile.tempdir = None
    for name in request.get("tweaks") or []:
        module = importlib.import_module("tests.trust.tweaks")
        getattr(module, name)()
    if request.get("largest"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest"], request["largest"]))
    watch = _Watch(request)
    from isnet_cli.cli.app import main as isnet

    try:
        return isnet(request["words"])
    finally:
        os.write(writing, watch.report())


class _Watch:
    """Counts the changes of files in this process, kills it or fails them, and notes trespasses.

    Args:
        request: ``step`` before which the process is killed; ``fail``, a pair of a step and an
            errno with which all changes from then on fail; ``writable`` folders.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.own, self.steps = os.getpid(), 0
        self.last = request.get("step")
        self.fail_from, self.errno = request.get("fail") or (None, 0)
        self.writable = [os.path.realpath(place) for place in request.get("writable") or ["/"]]
        self.outside: list[str] = []
        self.started: list[str] = []
        sync = os.fsync

        def fsync(number: int) -> None:
            self.change()
            sync(number)

        os.fsync = fsync  # type: ignore[assignment]
        sys.addaudithook(self.hook)

    def change(self, *paths: Any) -> None:
        """One change of files, about to happen."""
        if os.getpid() != self.own:
            return
        for path in paths:
            self.note(path)
        self.steps += 1
        if self.steps == self.last:
            os.kill(self.own, signal.SIGKILL)
        if self.fail_from is not None and self.steps >= self.fail_from:
            raise OSError(self.errno, os.strerror(self.errno), *map(str, paths[:1]))

    def note(self, path: Any) -> None:
        """Keeps a path that no command may change."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        name = os.fsdecode(path)
        if name == os.devnull:
            return
        where = os.path.join(os.path.realpath(os.path.dirname(name) or "."), os.path.basename(name))
        if os.path.islink(where):
            where = os.path.realpath(where)
        if not any(
            where == top or where.startswith(f"{top.rstrip('/')}/") for top in self.writable
        ):
            self.outside.append(name)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python's audit hook."""
        if event in CHANGES:
            self.change(*arguments[: 2 if event in PAIRS else 1])
        elif event == "open":
            mode, flags = arguments[1], arguments[2]
            writes = any(letter in (mode or "") for letter in "wax+")
            if writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
                self.change(arguments[0])
        elif event in RUNS and not _is_own(event, arguments):
            self.started.append(f"{event} {str(arguments[:2])[:200]}")

    def report(self) -> bytes:
        """What was seen, for the prepared process."""
        seen = {"steps": self.steps, "outside": self.outside[:9], "started": self.started[:9]}
        return json.dumps(seen).encode()


def _is_own(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether it is the traffic with worker processes: their results, through pipes and sockets."""
    if event == "socket.connect":
        return isinstance(arguments[1], (str, bytes))  # on this machine
    if event == "pickle.find_class":
        return str(arguments[0]).startswith(("isnet_", "numpy", "pathlib", "multiprocessing"))
    return event == "os.fork" or (
        event == "subprocess.Popen" and "multiprocessing" in str(arguments[1])
    )


def _await(child: int, deadline: float) -> bool:
    """Whether the child ends before `deadline`; it is not reaped."""
    while True:
        left = deadline - time.monotonic()
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        if left <= 0:
            return False
        time.sleep(min(left, 0.001))


def _await_orphans(deadline: float) -> list[str]:
    """Waits for the processes that the command started; names those that have to be killed."""
    while True:
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if found:
            continue
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    names = []
    for entry in Path("/proc/self/task").iterdir():
        for number in (entry / "children").read_text().split():
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            names.append(b" ".join(words[:8]).decode(errors="replace"))
            os.kill(int(number), signal.SIGKILL)
            os.waitpid(int(number), 0)
    return names


if __name__ == "__main__":
    main()
