"""One kill of one command: the same command again must give what an uninterrupted one gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.trust.commands import Ended, Zygote
from tests.trust.kill.compare import find_differences
from tests.trust.kill.inputs import EVERY

PATIENCE = 4  # further calls, where the command says that it is in use


@dataclass(frozen=True)
class Command:
    """A verb on small inputs.

    Attributes:
        verb: Its name.
        words: What is typed in the work folder.
        prepare: Commands that are done before, and are not killed.
        share: How many kills of a hundred are of this verb.
        tweaks: As of `Zygote.isnet`.
        fine: Exit codes of a whole command.
    """

    verb: str
    words: tuple[str, ...]
    prepare: tuple[tuple[str, ...], ...] = ()
    share: int = 8
    tweaks: tuple[str, ...] = ("same_salt",)
    fine: tuple[int, ...] = (0,)


RUN = ("c.yaml", "-o", "run")
MADE = (("train", *RUN),)
COMMANDS = (
    Command("ingest", ("ingest", *RUN), share=10),
    Command("masks", ("masks", "xrays", "-o", "run", "-j", "0", "-d", "cpu"), fine=(0, 7)),
    Command("masks train", ("masks", "train", "lung.yaml", "-o", "run"), share=10),
    Command("train", ("train", *RUN), (("masks", *RUN),), share=12),
    Command("evaluate", ("evaluate", *RUN), MADE, share=10),
    Command("predict", ("predict", "xrays", "--model", "run", "-o", "found", "--maps", EVERY,
                        "-d", "cpu", "-j", "0"), MADE, share=10, fine=(0, 7)),
    Command("heatmap", ("heatmap", *RUN), MADE, share=10),
    Command("run", ("run", *RUN), share=14),
    Command("report", ("report", "run", "-o", "report.html"), (("run", *RUN),), share=8),
    Command("compare", ("compare", "run", "two", "-o", "compare.html"),
            (("run", *RUN), ("run", "c.yaml", "-o", "two", "--set", "train.method=standard")),
            share=8),
    Command("benchmark", ("benchmark", "b.yaml", "-o", "run", "--jobs", "1"), share=6),
    Command("demo", ("demo", "-o", "run"), share=10, tweaks=("same_salt", "small_demo"),
            fine=(0, 7)),
)  # fmt: skip


@dataclass
class Record:
    """What the kills of one verb gave.

    Attributes:
        verb: The verb.
        kills: Commands that SIGKILL ended.
        late: Kills that came after the command had ended.
        faults: One line per trial that was not held, with what repeats it.
        seconds: Duration of the uninterrupted command.
        steps: Changes of files in it.
        compared: Files of the result.
    """

    verb: str
    kills: int = 0
    late: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    steps: int = 0
    compared: int = 0


@dataclass(frozen=True)
class Point:
    """Where a command is killed: after so many seconds, or just before a change of a file."""

    after: float | None = None
    step: int | None = None

    def __str__(self) -> str:
        return f"after {self.after:.4f} s" if self.after is not None else f"step {self.step}"


def try_verb(
    zygote: Zygote,
    command: Command,
    place: Path,
    write_inputs: Callable[[Path], None],
    kills: int,
    seed: int,
) -> Record:
    """Kills `command` at `kills` moments, each in a fresh copy of its prepared folder."""
    base, work, right = place / "base", place / "work", place / "right"
    tmp = place / "tmp"
    work.mkdir(parents=True)
    write_inputs(work)

    def call(words: Sequence[str], point: Point | None = None) -> Ended:
        point = point or Point()
        tmp.mkdir(exist_ok=True)
        return zygote.isnet(
            *words, cwd=work, after=point.after, step=point.step, tweaks=command.tweaks,
            writable=[work, tmp], TMPDIR=str(tmp),
        )  # fmt: skip

    for words in command.prepare:
        done = call(words)
        assert done.code in {0, 7}, (words, done.err)
    shutil.copytree(work, base, symlinks=True)
    whole = call(command.words)
    assert whole.code in command.fine, (command.words, whole.code, whole.err, whole.out)
    work.rename(right)
    record = Record(command.verb, seconds=whole.seconds, steps=whole.steps)
    record.compared = sum(path.is_file() for path in right.rglob("*"))
    for number in range(kills):
        shutil.rmtree(tmp, ignore_errors=True)
        shutil.copytree(base, work, symlinks=True)
        points = choose_points(whole, number, kills, seed)
        faults = _trial(call, command, points, record)
        if not faults:
            faults = [*find_differences(right, work), *_leftovers(tmp)]
        if faults:
            shown = ", ".join(map(str, points))
            record.faults.append(f"{command.verb}, killed {shown}: {'; '.join(faults[:4])}")
        shutil.rmtree(work)
    return record


def choose_points(whole: Ended, number: int, kills: int, seed: int) -> list[Point]:
    """Moments of trial `number`: steps spread over the command, or random times.

    One in four random trials is killed twice.
    """
    rng = np.random.default_rng([seed, number])
    if number % 2 == 0:
        share = (number // 2 + rng.random()) / ((kills + 1) // 2)
        return [Point(step=1 + min(whole.steps - 1, int(share * whole.steps)))]
    if number % 8 == 1:
        return [Point(after=float(rng.uniform(0, 0.02)))]  # the first milliseconds
    times = [float(rng.uniform(0, whole.seconds))]
    if rng.random() < 0.25:
        times.append(float(rng.uniform(0, whole.seconds)))
    return [Point(after=time) for time in times]


def _trial(
    call: Callable[..., Ended], command: Command, points: list[Point], record: Record
) -> list[str]:
    """Kills at the points, then lets the command end; what went wrong."""
    faults: list[str] = []
    for point in points:
        ended = call(command.words, point)
        record.kills += ended.killed
        record.late += not ended.killed
        faults += [f"left process: {name}" for name in ended.orphans]
        faults += [f"writes outside: {name}" for name in ended.outside]
        if not ended.killed and ended.code not in command.fine:
            return [*faults, f"ended with {ended.code} before the kill: {_last(ended)}"]
    done = call(command.words)
    faults += [f"writes outside: {name}" for name in done.outside]
    if done.code not in command.fine:
        faults.append(f"the same command ended with {done.code}: {_last(done)}")
    return faults


def _last(ended: Ended) -> str:
    return (ended.err.strip() or ended.out.strip())[-300:].replace("\n", " / ")


def _leftovers(tmp: Path) -> list[str]:
    return [f"left in TMPDIR: {path.relative_to(tmp)}" for path in tmp.rglob("*")]
