"""One prepared process, and one finished run, for all tests of hostile surroundings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trust.commands import Zygote
from tests.trust.kill.inputs import write_all


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("printed")) as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Path:
    """A folder of inputs and of a finished ``run``; read only."""
    place = tmp_path_factory.mktemp("made")
    write_all(place, light=True)
    assert zygote.isnet("run", "c.yaml", "-o", "run", cwd=place).code == 0
    return place


@pytest.fixture
def work(tmp_path: Path, made: Path) -> Path:
    """A copy of `made` that may be changed; beside it lies nothing else."""
    place = tmp_path / "box" / "work"
    shutil.copytree(made, place)
    return place
