"""Runs `isnet` commands in children of one prepared process, and kills them where asked to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.paths import ROOT


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code; -9 when it was killed.
        seconds: From its start to its end.
        steps: Changes of files that it counted (0 when it was killed).
        orphans: Processes that had to be ended after it.
        outside: Paths outside the writable folders that it would change.
        started: Processes, connections and pickled objects.
        out: What it printed on stdout (several at the same time: all of them).
        err: What it printed on stderr.
    """

    code: int
    seconds: float
    steps: int
    orphans: tuple[str, ...]
    outside: tuple[str, ...]
    started: tuple[str, ...]
    out: str
    err: str

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -9


class Zygote:
    """The prepared process; see `tests.trust.zygote`.

    Args:
        place: Folder for what the commands print.
    """

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self._place = place
        paths = (ROOT / "tests" / "offline", ROOT, ROOT / "models")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.trust.zygote"], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._answer() == {"ready": True}

    def __enter__(self) -> Zygote:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def isnet(self, *words: str | Path, cwd: Path, **options: Any) -> Ended:
        """Runs ``isnet WORDS`` in the folder `cwd`; options as of `together`."""
        return self.together([words], cwd=cwd, **options)[0]

    def together(
        self,
        commands: Sequence[Sequence[str | Path]],
        *,
        cwd: Path,
        after: float | None = None,
        step: int | None = None,
        fail: tuple[int, int] | None = None,
        largest: int | None = None,
        writable: Sequence[Path] = (),
        tweaks: Sequence[str] = (),
        **environment: str,
    ) -> list[Ended]:
        """Runs commands at the same time.

        Args:
            commands: The words of each.
            cwd: Their working folder.
            after: Seconds after which the first is killed.
            step: They are killed just before this change of a file (from 1).
            fail: From this change on, every change of a file fails with this errno.
            largest: Bytes that a file may have.
            writable: Folders that they may change; default: all.
            tweaks: Functions of `tests.trust.tweaks` that are called first.
            **environment: Further variables.
        """
        out, err = self._place / "out", self._place / "err"
        for path in (out, err):
            path.write_bytes(b"")
        scratch = self._place / "tmp"
        scratch.mkdir(exist_ok=True)
        request = {
            "commands": [[str(word) for word in words] for words in commands], "cwd": str(cwd),
            "after": after, "step": step, "fail": fail, "largest": largest,
            "writable": [*map(str, writable), *([str(self._place)] if writable else [])],
            "tweaks": list(tweaks), "env": {"TMPDIR": str(scratch), **environment},
            "stdout": str(out), "stderr": str(err),
        }  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        found = self._answer()
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
        return [
            Ended(
                one["code"], one["seconds"], one["steps"], tuple(one["orphans"]),
                tuple(one["outside"]), tuple(one["started"]), *texts,
            )
            for one in found
        ]  # fmt: skip

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the prepared process died")
        return json.loads(line)
