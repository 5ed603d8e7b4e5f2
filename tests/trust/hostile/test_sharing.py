"""Several processes, moved folders, links and clocks that go wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.trained import tree_digest
from tests.trust.commands import Zygote
from tests.trust.kill.compare import find_differences
from tests.trust.kill.inputs import write_all

pytestmark = pytest.mark.trust
SALT = ("same_salt",)
RUN = ("run", "c.yaml", "-o", "run")


def test_two_processes_on_one_run(zygote: Zygote, tmp_path: Path) -> None:
    """One does the work, the other is refused; the result is that of one alone."""
    work = tmp_path / "work"
    write_all(work, light=True)
    shutil.copytree(work, tmp_path / "base")
    assert zygote.isnet(*RUN, cwd=work, tweaks=SALT).code == 0
    right = work.rename(tmp_path / "right")
    shutil.copytree(tmp_path / "base", work)
    ends = zygote.together([RUN, RUN, RUN], cwd=work, tweaks=SALT)
    codes = sorted(ended.code for ended in ends)
    assert codes[0] == 0, ends[0].err
    assert set(codes) <= {0, 6}, ends[0].err
    if 6 in codes:
        assert "in use by another isnet process" in ends[0].err
    assert zygote.isnet(*RUN, cwd=work, tweaks=SALT).code == 0
    assert find_differences(right, work) == []


def test_two_runs_on_the_images_of_a_third(zygote: Zygote, work: Path) -> None:
    before = tree_digest(work / "run")
    words = [
        ("run", "c.yaml", "-o", name, "--set", "upstream=run", "--set", f"train.method={method}")
        for name, method in (("a", "standard"), ("b", "isnet"))
    ]
    ends = zygote.together(words, cwd=work)
    assert [ended.code for ended in ends] == [0, 0], ends[0].err
    assert tree_digest(work / "run") == before


def test_a_run_whose_upstream_changed_is_out_of_date(zygote: Zygote, work: Path) -> None:
    words = ("train", "c.yaml", "-o", "a", "--set", "upstream=run")
    assert zygote.isnet(*words, cwd=work).code == 0
    kept = sorted((work / "xrays").iterdir())
    shutil.copyfile(kept[0], kept[1])
    again = zygote.isnet("masks", "c.yaml", "-o", "run", "--overwrite", cwd=work)
    assert again.code in {0, 7}, again.err
    ended = zygote.isnet(*words, cwd=work)
    assert ended.code == 3
    assert "finished with other settings or inputs" in ended.err


def test_a_run_copied_to_another_place_and_only_read(
    zygote: Zygote, work: Path, tmp_path: Path
) -> None:
    """The inputs and the run's old place are gone."""
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(work / "run", moved)
    shutil.copytree(work / "xrays", tmp_path / "box" / "new")
    shutil.rmtree(work)
    before = tree_digest(moved)
    here = tmp_path / "box"
    for words in (
        ("report", moved, "-o", "report.html"),
        ("predict", "new", "--model", moved, "-o", "found", "-d", "cpu"),
        ("heatmap", "new", "--model", moved, "-o", "maps", "-d", "cpu"),
        ("evaluate", moved, "--dry-run"),
    ):
        ended = zygote.isnet(*words, cwd=here, writable=[here])
        assert ended.code in {0, 7}, (words, ended.code, ended.err)
        assert [path for path in ended.outside if str(moved) in path] == [], words
    assert tree_digest(moved) == before


@pytest.mark.parametrize("tweak", ["clock_set_back", "clock_set_ahead"])
def test_a_clock_that_jumps_changes_nothing(zygote: Zygote, tmp_path: Path, tweak: str) -> None:
    work = tmp_path / "work"
    write_all(work, light=True)
    shutil.copytree(work, tmp_path / "base")
    whole = zygote.isnet(*RUN, cwd=work, tweaks=SALT)
    right = work.rename(tmp_path / "right")
    shutil.copytree(tmp_path / "base", work)
    assert zygote.isnet(*RUN, cwd=work, tweaks=SALT, step=whole.steps // 2).killed
    assert zygote.isnet(*RUN, cwd=work, tweaks=(*SALT, tweak)).code == 0
    assert find_differences(right, work) == []
    third = zygote.isnet(*RUN, cwd=work, tweaks=SALT)
    assert third.out.count("up to date") == 5


def test_inputs_older_than_time_or_from_the_future(zygote: Zygote, tmp_path: Path) -> None:
    write_all(tmp_path, light=True)
    for number, path in enumerate(sorted((tmp_path / "xrays").iterdir())):
        os.utime(path, (number % 2 * 4e9, number % 2 * 4e9))
    ended = zygote.isnet("ingest", "c.yaml", "-o", "run", cwd=tmp_path)
    assert ended.code == 0, ended.err


def test_links_that_lead_out_of_a_folder(zygote: Zygote, tmp_path: Path) -> None:
    """Linked inputs are read and never changed; loops and dangling links end nothing."""
    work, other = tmp_path / "work", tmp_path / "other"
    write_all(work, light=True)
    other.mkdir()
    for path in sorted((work / "xrays").iterdir())[:3]:
        path.rename(other / path.name)
        path.symlink_to(other / path.name)
    (work / "xrays" / "loop").symlink_to(work / "xrays")
    (work / "xrays" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (work / "xrays" / "device.png").symlink_to("/dev/zero")
    os.mkfifo(work / "xrays" / "pipe.png")
    before = tree_digest(other)
    ended = zygote.isnet("ingest", "c.yaml", "-o", "run", cwd=work, writable=[work / "run"])
    assert ended.code in {0, 7}, ended.err
    assert ended.outside == ()
    assert tree_digest(other) == before
    assert not (tmp_path / "nowhere.png").exists()
    skipped = (work / "run/ingest/skipped.csv").read_text(encoding="utf-8")
    assert {"gone", "device", "pipe"} <= {
        line.split(",")[0].partition(".")[0] for line in skipped.splitlines()
    }


@pytest.mark.parametrize("stage", ["masks", "train", "evaluate", "heatmap"])
def test_a_stage_folder_that_is_a_link(zygote: Zygote, work: Path, stage: str) -> None:
    """Nothing is written through a link that leads out of the run."""
    victim = work.parent / "victim"
    victim.mkdir()
    (victim / "precious.csv").write_text("x", encoding="utf-8")
    shutil.rmtree(work / "run" / stage)
    (work / "run" / stage).symlink_to(victim)
    ended = zygote.isnet(*RUN, "--overwrite", cwd=work, writable=[work])
    assert ended.outside == ()
    assert ended.code != 1
    assert [path.name for path in victim.iterdir()] == ["precious.csv"]
