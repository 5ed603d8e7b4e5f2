"""Full and read-only disks: one message, no traceback, and the same command goes on later."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from isnet_cli.errors import EXIT_CODES
from tests.trust.commands import Ended, Zygote
from tests.trust.kill.compare import find_differences
from tests.trust.kill.inputs import write_all

pytestmark = pytest.mark.trust
SALT = ("same_salt",)


def check_refusal(ended: Ended) -> None:
    """A fault of the machine, said once."""
    assert ended.code == EXIT_CODES["machine"], (ended.code, ended.err)
    assert "Traceback" not in ended.err
    assert ended.err.count("error[machine]") == 1
    assert "error[bug]" not in ended.err


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    write_all(place, light=True)
    return place


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_changes_that_fail_from_some_moment_on(
    zygote: Zygote, tmp_path: Path, fresh: Path, number: int
) -> None:
    base = tmp_path / "base"
    shutil.copytree(fresh, base)
    words = ("run", "c.yaml", "-o", "run")
    whole = zygote.isnet(*words, cwd=fresh, tweaks=SALT)
    right = fresh.rename(tmp_path / "right")
    for share in (0.0, 0.05, 0.3, 0.6, 0.9):
        shutil.copytree(base, fresh)
        step = 1 + int(share * whole.steps)
        ended = zygote.isnet(*words, cwd=fresh, fail=(step, number), tweaks=SALT)
        check_refusal(ended)
        assert zygote.isnet(*words, cwd=fresh, tweaks=SALT).code == 0
        assert find_differences(right, fresh) == []
        shutil.rmtree(fresh)


@pytest.mark.parametrize("largest", [200, 3_000, 60_000, 1_000_000])
def test_files_that_cannot_grow(
    zygote: Zygote, tmp_path: Path, made: Path, fresh: Path, largest: int
) -> None:
    """As on a disk that is full in the middle of a file, for what is written in C too."""
    words = ("run", "c.yaml", "-o", "run")
    check_refusal(zygote.isnet(*words, cwd=fresh, largest=largest, tweaks=SALT))
    assert zygote.isnet(*words, cwd=fresh, tweaks=SALT).code == 0
    names = {p.relative_to(made) for p in made.rglob("*") if p.is_file()}
    assert names == {p.relative_to(fresh) for p in fresh.rglob("*") if p.is_file()}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 300 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_full_and_then_grows(zygote: Zygote, disk: Path, fresh: Path) -> None:
    words = ("run", "c.yaml", "-o", disk / "run")
    check_refusal(zygote.isnet(*words, cwd=fresh))
    subprocess.run(["mount", "-o", "remount,size=90m", str(disk)], check=True)
    assert zygote.isnet(*words, cwd=fresh).code == 0


def test_a_disk_that_may_only_be_read(zygote: Zygote, disk: Path, made: Path, fresh: Path) -> None:
    """A run on it can be reported, compared and used; nothing tries to change it."""
    subprocess.run(["mount", "-o", "remount,size=90m", str(disk)], check=True)
    shutil.copytree(made / "run", disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    run = disk / "run"
    check_refusal(zygote.isnet("run", "c.yaml", "-o", disk / "new", cwd=fresh))
    for words in (
        ("report", run, "-o", "report.html"),
        ("predict", "xrays", "--model", run, "-o", "found", "-d", "cpu"),
        ("run", run, "--dry-run"),
    ):
        ended = zygote.isnet(*words, cwd=fresh, writable=[fresh])
        assert ended.code in {0, 7}, ended.err
        assert [path for path in ended.outside if str(disk) in path] == []
