"""SIGKILL at any moment of any verb: the same command again gives what it would have given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.trust.commands import Zygote
from tests.trust.figures import Figures
from tests.trust.kill.compare import find_differences
from tests.trust.kill.inputs import write_all
from tests.trust.kill.trials import COMMANDS, Command, Record, choose_points, try_verb

SEED = int(os.environ.get("ISNET_TRUST_SEED", "0"))
WHOLE = int(os.environ.get("ISNET_TRUST_KILLS", "140"))
SHORT = ("ingest", "masks", "train")


def try_all(commands: Sequence[Command], kills: float, place: Path) -> list[Record]:
    """Every command in turn, in one prepared process; `kills` of all verbs together."""
    with Zygote(place / "printed") as zygote:
        return [
            try_verb(zygote, command, place / command.verb.replace(" ", "-"), write_all,
                     max(1, round(command.share * kills / sum(c.share for c in COMMANDS))), SEED)
            for command in commands
        ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_some_kills(tmp_path: Path) -> None:
    chosen = [command for command in COMMANDS if command.verb in SHORT]
    records = try_all(chosen, 20, tmp_path)
    assert [fault for record in records for fault in record.faults] == []
    assert all(record.kills for record in records)


@pytest.mark.trust
@pytest.mark.timeout(1800)
def test_many_kills(tmp_path: Path, figures: Figures) -> None:
    """Every verb; two prepared processes work side by side."""
    long = [c for c in COMMANDS if c.verb in {"benchmark", "demo"}]
    rest = [c for c in COMMANDS if c not in long]
    halves = [[long[0], *rest[1::3]], [long[1], *rest[0::3], *rest[2::3]]]
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda n: try_all(halves[n], WHOLE, tmp_path / str(n)), range(2))
        records = [record for half in done for record in half]
    order = {command.verb: number for number, command in enumerate(COMMANDS)}
    figures.table(
        "kills",
        ("verb", "SIGKILLs", "after the end", "s", "changes of files", "files compared", "faults"),
        [
            (r.verb, r.kills, r.late, f"{r.seconds:.1f}", r.steps, r.compared, len(r.faults))
            for r in sorted(records, key=lambda r: order[r.verb])
        ],
    )
    kills = sum(record.kills for record in records)
    figures.say(f"{kills} SIGKILLs, {sum(len(r.faults) for r in records)} faults, seed {SEED}")
    assert {record.verb for record in records} == set(order)
    assert "\n".join(fault for record in records for fault in record.faults) == ""
    assert kills >= min(100, WHOLE * 0.8)


@pytest.mark.trust
def test_a_child_of_the_prepared_process_does_what_a_fresh_process_does(
    tmp_path: Path, child_environment: dict[str, str]
) -> None:
    for name in ("fresh", "forked"):
        (tmp_path / name / "work").mkdir(parents=True)
        write_all(tmp_path / name / "work")
    words = ["run", "c.yaml", "-o", "run"]
    # the same path for both: outputs name their inputs
    place = tmp_path / "fresh" / "work"
    subprocess.run(
        [sys.executable, "-m", "isnet_cli.cli.app", *words], cwd=place, check=True,
        env=child_environment, capture_output=True,
    )  # fmt: skip
    place.rename(tmp_path / "right")
    (tmp_path / "forked" / "work").rename(place)
    with Zygote(tmp_path / "printed") as zygote:
        assert zygote.isnet(*words, cwd=place).code == 0
    assert find_differences(tmp_path / "right" / "run", place / "run") == []


def test_the_moments_cover_the_command() -> None:
    from tests.trust.commands import Ended

    whole = Ended(0, 2.0, 100, (), (), (), "", "")
    points = [point for n in range(40) for point in choose_points(whole, n, 40, 0)]
    steps = sorted(point.step for point in points if point.step is not None)
    times = [point.after for point in points if point.after is not None]
    assert steps[0] <= 10
    assert steps[-1] >= 90
    assert len(set(steps)) == 20
    assert min(times) < 0.02
    assert max(times) > 1.5
