"""`isnet ls`, `show`, `diff`, `clean`: what they say of runs, and what they leave alone."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.cli.factory import isnet, tree
from tests.support.trained import TrainedRun


def test_ls_lists_runs_and_folders_of_runs(
    finished_run: TrainedRun, standard_run: TrainedRun, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "a").symlink_to(finished_run.path)
    (runs / "no run").mkdir()
    done = isnet("ls", runs, standard_run.path, "--json")
    assert done.code == 0, done.err
    first, second = done.document["runs"]
    assert (first["method"], first["network"], first["images"]) == ("isnet", "small", 24)
    assert first["epoch"].endswith("/2")
    assert 0 <= float(first["test AUC"]) <= 1
    assert (second["method"], second["test AUC"], second["state"]) == ("standard", "", "train")
    assert isnet("ls", runs).out.splitlines()[0].split()[:2] == ["run", "method"]


def test_ls_takes_a_list_from_stdin(isnet_run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{isnet_run.path}\n\n{isnet_run.path}\n"))
    assert len(isnet("ls", "-", "--json").document["runs"]) == 1


def test_ls_names_what_it_cannot_read(isnet_run: TrainedRun, tmp_path: Path) -> None:
    run = isnet_run.copy(tmp_path / "run")
    (run.path / "run.json").write_text("{", encoding="utf-8")
    (entry,) = isnet("ls", run.path, "--json").document["runs"]
    assert "not a run record" in entry["state"]
    assert isnet("ls", tmp_path / "none").code == 4
    assert isnet("ls", tmp_path / "run/train").out == "no runs\n"


def test_show_has_settings_other_than_the_defaults_and_scores(finished_run: TrainedRun) -> None:
    done = isnet("show", finished_run.path, "--json")
    assert done.document["settings"]["model.arch"] == "small"
    assert "train.method" not in done.document["settings"]
    assert done.document["stages"]["heatmap"] == "done"
    assert "test macro AUC" in done.document["scores"]
    assert "model.arch: small" in isnet("show", finished_run.path).out


def test_diff_has_what_differs(finished_run: TrainedRun, standard_run: TrainedRun) -> None:
    done = isnet("diff", finished_run.path, standard_run.path, "--json")
    assert done.document["settings"]["train.method"] == ["isnet", "standard"]
    assert "model.arch" not in done.document["settings"]
    assert done.document["scores"]["test macro AUC"][1] == ""
    assert isnet("diff", standard_run.path, standard_run.path).out == "no difference\n"


def test_clean_asks_and_leaves_a_run_that_works(
    isnet_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = isnet_run.copy(tmp_path / "run")
    before = tree(run.path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    refused = isnet("clean", run.path)
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert tree(run.path) == before
    done = isnet("clean", run.path, "--yes", "--json")
    assert done.code == 0, done.err
    assert done.document["bytes"] > 0
    gone = set(before) - set(tree(run.path))
    assert gone == {"train/last.ckpt", "train/images.npy", "train/images.json"}
    assert "nothing to remove" in isnet("clean", run.path, "--yes").out
    assert run.folder.find_damage("train") == ""


def test_clean_keeps_what_an_unfinished_training_needs(
    isnet_run: TrainedRun, tmp_path: Path
) -> None:
    run = isnet_run.copy(tmp_path / "run")
    run.folder.begin("train", "other")
    done = isnet("clean", run.path, "--yes")
    assert (done.code, "is not finished" in done.err) == (2, True)
    assert (run.path / "train/last.ckpt").is_file()
