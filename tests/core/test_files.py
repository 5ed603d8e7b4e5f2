"""Files appear whole or not at all."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import pytest

from isnet_cli.core.files import (
    atomic_path,
    fingerprint,
    read_csv,
    refuse_foreign,
    sha256_file,
    without_nan,
    write_csv,
    write_json,
    write_text,
)
from isnet_cli.errors import IsnetError
from isnet_cli.guard.leftovers import name_temporary


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_csv_round_trip_with_hostile_cells(tmp_path: Path) -> None:
    rows = [{"a": 'x,"y"\n', "b": "é;"}, {"a": "", "b": "007"}]
    write_csv(tmp_path / "t.csv", ["a", "b"], rows)
    assert read_csv(tmp_path / "t.csv") == rows


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": math.nan})
    assert not (tmp_path / "x.json").exists()


def test_figures_without_value_are_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", without_nan({"auc": float("nan"), "loss": 0.5}))
    assert json.loads((tmp_path / "a.json").read_text()) == {"auc": None, "loss": 0.5}


def test_fingerprint_depends_on_content_not_on_order() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    assert fingerprint("a", "b") != fingerprint("ab")


def test_sha256_of_a_known_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x").startswith("ba7816bf8f01cfea")


def test_an_output_folder_is_new_or_our_own(tmp_path: Path) -> None:
    refuse = partial(refuse_foreign, mark="mark", own={"log"}, what="run")
    refuse(tmp_path / "new")
    (tmp_path / "log").touch()
    refuse(tmp_path)
    (tmp_path / "letter.txt").touch()
    with pytest.raises(IsnetError, match=r"holds other files \(letter\.txt\)"):
        refuse(tmp_path)
    (tmp_path / "mark").touch()
    refuse(tmp_path)
    with pytest.raises(IsnetError, match="a file, expected a folder for the run"):
        refuse(tmp_path / "mark")


def test_the_folder_that_is_proposed_lies_in_none_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder in the way may be that of the images, which nothing is written to."""
    folder = tmp_path / "xrays"
    folder.mkdir()
    (folder / "a.png").touch()
    with pytest.raises(IsnetError) as caught:
        refuse_foreign(folder, "run.json", set(), "run")
    assert caught.value.fix == f"-o {tmp_path / 'xrays-run'}"
    monkeypatch.chdir(folder)
    with pytest.raises(IsnetError) as caught:
        refuse_foreign(Path(), "run.json", set(), "run")
    assert caught.value.fix == "-o run"


def test_what_a_killed_process_left_is_not_foreign(tmp_path: Path) -> None:
    for name in (".lock", ".holder.json", name_temporary(tmp_path / "isnet.yaml").name):
        (tmp_path / name).touch()
    refuse_foreign(tmp_path, "run.json", set(), "run")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(IsnetError, match=r"holds other files \(notes.txt\)"):
        refuse_foreign(tmp_path, "run.json", set(), "run")
