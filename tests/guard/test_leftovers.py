from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from isnet_cli.core.files import atomic_path, write_text
from isnet_cli.guard.leftovers import (
    clear_leftovers,
    clear_outside,
    name_folder_prefix,
    name_temporary,
)


def of(path: Path, owner: str) -> Path:
    """The temporary name of a file as another process would have chosen it."""
    temporary = name_temporary(path)
    found = re.sub(r"\.\d+-[0-9a-f]{10}\.tmp", f".{owner}.tmp", temporary.name)
    made = temporary.with_name(found)
    made.parent.mkdir(parents=True, exist_ok=True)
    made.touch()
    return made


def owner(number: int, *, mark: str = "0000", host: str = "") -> str:
    here = re.findall(r"-([0-9a-f]{6})[0-9a-f]{4}\.tmp", name_temporary(Path("x")).name)[0]
    return f"{number}-{host or here}{mark}"


DEAD = 999_999_999  # more than any system's highest number of a process


def test_files_of_dead_processes_go_and_those_of_live_ones_stay(tmp_path: Path) -> None:
    dead = [of(tmp_path / "a" / "x.png", owner(DEAD)), of(tmp_path / ".x", owner(DEAD))]
    weights = tmp_path / f".model.safetensors.{DEAD}.tmp"
    weights.touch()
    kept = [
        of(tmp_path / "x.png", owner(os.getppid())),
        of(tmp_path / "y.png", owner(DEAD, host="ffffff")),
        tmp_path / "x.tmp.png",
        tmp_path / f"x.{DEAD}.tmp",
    ]
    for path in kept:
        path.touch()
    assert clear_leftovers(tmp_path) == 3
    assert not any(path.exists() for path in (*dead, weights))
    assert all(path.exists() for path in kept)


def test_only_who_holds_the_lock_removes_files_of_other_machines(tmp_path: Path) -> None:
    path = of(tmp_path / "y.png", owner(DEAD, host="ffffff"))
    assert clear_leftovers(tmp_path) == 0
    assert clear_leftovers(tmp_path, locked=True) == 1
    assert not path.exists()


def test_an_earlier_process_of_the_same_number_is_dead(tmp_path: Path) -> None:
    """As in a container, where each start has the number 1."""
    of(tmp_path / "x.png", owner(os.getpid()))
    with atomic_path(tmp_path / "mine.txt") as mine:
        mine.write_text("whole")
        assert clear_leftovers(tmp_path) == 1
    assert (tmp_path / "mine.txt").read_text() == "whole"


def test_a_folder_alone_and_links(tmp_path: Path) -> None:
    of(tmp_path / "deep" / "x.png", owner(DEAD))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    link = of(tmp_path / "top" / "x", owner(DEAD))
    link.unlink()
    link.symlink_to(outside)
    assert clear_leftovers(tmp_path / "top", deep=False) == 1
    assert clear_leftovers(tmp_path, deep=False) == 0
    assert (outside / "precious").exists()
    assert not link.is_symlink()


def test_a_killed_process_leaves_a_file_that_the_next_start_removes(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys\n"
        "from isnet_cli.core.files import atomic_path\n"
        "with atomic_path(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "x.txt")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert clear_leftovers(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_temporary_folders_outside(tmp_path: Path) -> None:
    mine = tmp_path / f"{name_folder_prefix()}abc"
    dead = tmp_path / f"isnet-{owner(DEAD)}-abc"
    for path in (mine, dead, tmp_path / "isnet-notes"):
        path.mkdir()
        (path / "file").touch()
    assert clear_outside(tmp_path) == 1
    assert mine.exists()
    assert (tmp_path / "isnet-notes").exists()
    assert not dead.exists()


def test_long_names_are_shortened(tmp_path: Path) -> None:
    write_text(tmp_path / ("y" * 250), "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["y" * 250]
