"""Many mutants in processes of their own, each watched: time, memory, and whether it lives.

By hand, one mutant again: ``python -m tests.trust.fuzz.campaign 'dicom j2k' 4711``.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from tests.trust.fuzz.mutate import mutate
from tests.trust.fuzz.readers import Kind, Outcome, Readers
from tests.trust.fuzz.sources import Source, make_home, make_sources

SLOW = 20.0  # seconds of the processor for one file
HUNG = 120.0  # seconds of the clock, on a machine that has other work too
HEAVY = 1 << 30  # bytes that one file may add
STEP = 25  # files per message
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Result:
    """One mutant.

    Attributes:
        source: Name of the sound file.
        seed: Of the mutation.
        kind: As of `Outcome`.
        detail: As of `Outcome`.
        damage: What was done to the file, in a word.
        seconds: Of the processor, for reading.
        growth: Memory added at its peak, bytes.
    """

    source: str
    seed: int
    kind: Kind
    detail: str
    damage: str
    seconds: float
    growth: int


@dataclass
class Campaign:
    """All results."""

    results: list[Result] = field(default_factory=list)
    deaths: int = 0
    hangs: int = 0
    seconds: float = 0.0

    @property
    def faults(self) -> list[Result]:
        """Mutants that were not accounted for, or took too much."""
        return [
            r for r in self.results
            if r.kind == "fault" or r.seconds > SLOW or r.growth > HEAVY
        ]  # fmt: skip


def make_mutant(source: Source, seed: int) -> tuple[bytes, str]:
    """The mutant number `seed` of a sound file, and its damage."""
    rng = np.random.default_rng([zlib.crc32(source.name.encode()), seed])
    return mutate(source.family, source.content, rng)


def list_cases(sources: Sequence[Source], cases: int, first: int) -> Iterator[tuple[str, int]]:
    """(source, seed) of about `cases` mutants by the sources' shares, well mixed."""
    total = sum(source.share for source in sources)
    counts = {s.name: max(1, round(cases * s.share / total)) for s in sources}
    order = [(number / count, name, number) for name, count in counts.items()
             for number in range(count)]  # fmt: skip
    for _, name, number in sorted(order):
        yield name, first + number


def run_campaign(cases: Sequence[tuple[str, int]], place: Path, processes: int = 2) -> Campaign:
    """Reads all mutants; a process that dies or hangs takes one mutant with it.

    Results are also written to `RESULTS` in `place` as they come.
    """
    began = time.monotonic()
    home = place / "home"
    home.mkdir(parents=True)
    make_home(home)
    campaign = Campaign()
    waiting = [list(cases[at : at + STEP]) for at in range(0, len(cases), STEP)][::-1]
    workers = [_Worker(home, place) for _ in range(min(processes, len(waiting)))]
    while waiting or any(worker.busy for worker in workers):
        for place_, worker in enumerate(workers):
            if not worker.busy and waiting:
                worker.give(waiting.pop())
            outcome = worker.look()
            if outcome is not None:
                left, result = outcome
                campaign.results.append(result)
                campaign.deaths += result.detail.startswith("died")
                campaign.hangs += result.detail.startswith("hung")
                workers[place_] = _Worker(home, place)
                if left:
                    waiting.append(left)
        ready = wait([worker.pipe for worker in workers if worker.busy], timeout=0.2)
        for worker in workers:
            if worker.pipe in ready:
                found = worker.take()
                campaign.results += found
                with (place / RESULTS).open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(asdict(result)) + "\n" for result in found)
    for worker in workers:
        worker.end()
    campaign.seconds = time.monotonic() - began
    return campaign


class _Worker:
    """A process, and what it is reading."""

    def __init__(self, home: Path, place: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.now = context.Array("d", [0.0, 0.0])  # number in the batch, time of its start
        self.process = context.Process(
            target=_work, args=(theirs, self.now, str(home), str(place)), daemon=True
        )
        self.process.start()
        theirs.close()
        self.batch: list[tuple[str, int]] = []
        self.gone = self.started = False

    @property
    def busy(self) -> bool:
        return bool(self.batch)

    def give(self, batch: list[tuple[str, int]]) -> None:
        self.batch = batch
        self.now[0], self.now[1] = 0.0, 0.0
        self.pipe.send(batch)

    def take(self) -> list[Result]:
        try:
            found: list[Result] = self.pipe.recv()
        except (EOFError, OSError):
            self.gone = True
            return []
        self.batch, self.started = [], True
        return found

    def look(self) -> tuple[list[tuple[str, int]], Result] | None:
        """What is left of the batch, and the mutant that killed or hung the process."""
        if not self.busy:
            return None
        number, start = int(self.now[0]), self.now[1]
        hung = start > 0 and time.monotonic() - start > HUNG
        if self.process.is_alive() and not hung:
            return None
        if not hung and not self.gone and self.pipe.poll():
            return None  # its last results are on their way
        if start == 0 and self.started is False:
            raise RuntimeError("a process that reads mutants does not start")
        self.process.kill()
        self.process.join()
        source, seed = self.batch[number]
        word = f"hung for {HUNG:g} s" if hung else f"died with {self.process.exitcode}"
        result = Result(source, seed, "fault", word, "", time.monotonic() - start if hung else 0, 0)
        # those before it are read again: their results were lost with the process
        return [*self.batch[:number], *self.batch[number + 1 :]], result

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.process.join(20)


def _work(pipe: Connection, now: Any, home: str, place: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(dir=place) as own:
        os.chdir(own)
        sources = make_sources(Path(home))
        readers = Readers(list(sources.values()), Path(home), Path(own))
        for source in sources.values():  # imports what the readers import
            readers.read(source, source.content)
        while (batch := pipe.recv()) is not None:
            results = []
            for number, (name, seed) in enumerate(batch):
                content, damage = make_mutant(sources[name], seed)
                before = _reset_peak()
                now[0], now[1] = float(number), time.monotonic()
                began = time.process_time()
                outcome = readers.read(sources[name], content)
                seconds = time.process_time() - began
                now[1] = 0.0
                growth = _peak() - before
                results.append(
                    Result(name, seed, outcome.kind, outcome.detail, damage, seconds, growth)
                )
            if Path("pwned").exists():
                results[-1] = Result(*batch[-1], "fault", "something was executed", "", 0.0, 0)
            pipe.send(results)


def _reset_peak() -> int:
    """Forgets the peak of this process's memory; its memory now, bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS:")


def _peak() -> int:
    return _memory("VmHWM:")


def _memory(name: str) -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(li.split()[1]) * 1024 for li in file if li.startswith(name))
    except (OSError, StopIteration):
        return 0


def group_results(results: Sequence[Result]) -> dict[str, Counter[str]]:
    """Counts of each kind per format."""
    found: dict[str, Counter[str]] = {}
    for result in results:
        found.setdefault(name_format(result.source), Counter())[result.kind] += 1
    return found


def name_format(source: str) -> str:
    """``dicom j2k`` -> ``dicom``; records of a run by their ending."""
    first, _, rest = source.partition(" ")
    if first == "run":
        return f"run's {rest.rpartition('.')[2]}"
    return "CSV, lists" if first in ("csv", "txt") else first


def replay(name: str, seed: int, keep: Path | None = None) -> Outcome:
    """Reads one mutant in this process; writes it to `keep` where that is given."""
    with tempfile.TemporaryDirectory() as place:
        home, own = Path(place, "home"), Path(place, "own")
        home.mkdir()
        own.mkdir()
        make_home(home)
        sources = make_sources(home)
        content, _ = make_mutant(sources[name], seed)
        if keep is not None:
            keep.write_bytes(content)
        return Readers([sources[name]], home, own).read(sources[name], content)


if __name__ == "__main__":
    print(replay(sys.argv[1], int(sys.argv[2]), *map(Path, sys.argv[3:4])))
