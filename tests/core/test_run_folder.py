"""The run folder: what is done, what is current, who holds it."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError


def finished(path: Path, text: str = "x") -> RunFolder:
    folder = RunFolder(path)
    output = folder.stage_dir("ingest") / "manifest.csv"
    output.parent.mkdir(parents=True)
    output.write_text(text)
    folder.begin("ingest", "f1")
    folder.finish("ingest", "f1", [output], {"skipped": 2})
    return folder


def test_a_stage_is_current_only_while_all_agrees(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    assert folder.is_current("ingest", "f1")
    assert not folder.is_current("ingest", "f2")
    assert folder.require("ingest")["summary"] == {"skipped": 2}
    (folder.stage_dir("ingest") / "manifest.csv").write_text("changed")
    assert not folder.is_current("ingest", "f1")


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_table_that_is_not_as_written_is_refused_when_it_is_read(
    tmp_path: Path, how: str
) -> None:
    folder = finished(tmp_path / "run")
    table = folder.stage_dir("ingest") / "manifest.csv"
    written = table.stat().st_mtime_ns
    if how == "gone":
        table.unlink()
    else:
        table.write_text("y")  # the same size, and the same time
        os.utime(table, ns=(written, written))
    with pytest.raises(IsnetError, match=f"ingest/manifest.csv .*{how}") as caught:
        RunFolder(tmp_path / "run").require("ingest")
    assert caught.value.kind == "data"
    assert caught.value.fix.startswith(f"isnet ingest {tmp_path / 'run'}")
    with pytest.raises(IsnetError, match=how):
        RunFolder(tmp_path / "two", folder).require("ingest")


def test_a_picture_that_is_not_as_written_is_refused_when_it_is_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    root = folder.stage_dir("masks")
    (root / "x").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (root / f"x/{name}.png").write_text(name)
    folder.finish("masks", "f", [], {}, products=[root / "x/a.png", root / "x/b.png"])
    moved = RunFolder((tmp_path / "run").rename(tmp_path / "moved"))
    (moved.path / "masks/x/b.png").write_text("c")
    for name in ("x/a.png", "x/c.png"):  # the second is none of the recorded files
        moved.refuse_change("masks", name)
    with pytest.raises(IsnetError, match=r"masks/x/b\.png was changed"):
        moved.refuse_change("masks", "x/b.png")
    (moved.path / ".products/masks.csv").write_text("file,bytes,sha256\n")
    with pytest.raises(IsnetError, match=r"\.products/masks\.csv was changed"):
        RunFolder(moved.path).refuse_change("masks", "x/b.png")


def test_a_begun_stage_is_not_done(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    folder.begin("ingest", "f1")
    assert not folder.is_current("ingest", "f1")
    with pytest.raises(IsnetError, match="not finished") as caught:
        folder.require("ingest")
    assert "isnet run" in caught.value.fix


def test_shared_stages_come_from_upstream(tmp_path: Path) -> None:
    upstream = finished(tmp_path / "one")
    folder = RunFolder(tmp_path / "two", upstream)
    assert folder.stage_dir("ingest") == upstream.path / "ingest"
    assert folder.stage_dir("train") == folder.path / "train"
    assert folder.require("ingest")["fingerprint"] == "f1"


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(IsnetError, match="not a run record"):
        RunFolder(tmp_path).record()


def _hold(path: Path, held: object) -> None:
    with RunFolder(path).lock():
        held.set()  # type: ignore[attr-defined]
        time.sleep(60)


def test_lock_refuses_a_second_process_and_dies_with_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held))
    process.start()
    assert held.wait(30)
    with pytest.raises(IsnetError, match="in use") as caught, RunFolder(tmp_path).lock():
        pass
    assert caught.value.kind == "machine"
    process.kill()
    process.join()
    with RunFolder(tmp_path).lock():
        pass


def test_a_run_of_version_0_1_0_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = {"schema": 1, "stages": {}, "versions": {"isnet": "0.1.0"}}
    (tmp_path / "run.json").write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(IsnetError, match=r"a run of isnet 0\.1\.0, which isnet") as caught:
        RunFolder(tmp_path).stage_record("ingest")
    assert caught.value.kind == "data"
    assert "-o DIR" in caught.value.fix
    with pytest.raises(IsnetError, match="cannot read"):
        RunFolder(tmp_path).begin("ingest", "f")
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == old


@pytest.mark.parametrize("name", ["masks", "heatmap/test", "log.jsonl", "run.json"])
def test_a_link_that_leads_out_of_a_run_is_refused(tmp_path: Path, name: str) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    (run / name).parent.mkdir(parents=True)
    other.mkdir()
    (run / name).symlink_to(other)
    with pytest.raises(IsnetError, match="leads out of the run folder"), RunFolder(run).lock():
        pass
    assert list(other.iterdir()) == []


def test_a_run_folder_may_be_a_link_and_have_links_to_its_own_parts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "masks").mkdir(parents=True)
    (run / "same").symlink_to(run / "masks")
    (tmp_path / "link").symlink_to(run)
    with RunFolder(tmp_path / "link").lock():
        assert (run / ".lock").exists()
