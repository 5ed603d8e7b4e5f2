import json
from pathlib import Path

import pytest

from isnet_cli.core.journal import NAME, Journal, find_shares, list_shares, remove_files
from isnet_cli.core.parallel.shares import Share


def interrupted(folder: Path, fingerprint: str = "f1") -> None:
    """A journal of two parts, each with a file, left behind as by a kill."""
    with Journal(folder, fingerprint) as journal:
        for name in ("a", "b"):
            file = folder / "sub" / f"{name}.bin"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(name.encode())
            journal.add(name, {"value": 0.1 + 0.2}, [file])


def test_parts_come_back_exactly_after_a_kill(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with Journal(tmp_path, "f1") as journal:
        assert journal.get("a") == {"value": 0.1 + 0.2}
        assert journal.get("b") == {"value": 0.1 + 0.2}
        assert journal.get("c") is None


def test_complete_removes_the_journal_and_keeps_the_files(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with Journal(tmp_path, "f1") as journal:
        journal.complete()
    assert not (tmp_path / NAME).exists()
    assert (tmp_path / "sub" / "a.bin").exists()


def test_an_exception_keeps_the_journal(tmp_path: Path) -> None:
    def fail() -> None:
        with Journal(tmp_path, "f1") as journal:
            journal.add("a", 1)
            journal.complete()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with Journal(tmp_path, "f1") as journal:
        assert journal.get("a") == 1


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_part_whose_file_is_not_intact_is_done_again(tmp_path: Path, damage: str) -> None:
    interrupted(tmp_path)
    file = tmp_path / "sub" / "a.bin"
    file.write_bytes(b"other") if damage == "changed" else file.unlink()
    with Journal(tmp_path, "f1") as journal:
        assert journal.get("a") is None
        assert journal.get("b") is not None


def test_another_fingerprint_drops_parts_and_their_files(tmp_path: Path) -> None:
    interrupted(tmp_path)
    other = tmp_path / "sub" / "mine.txt"
    other.write_text("not the stage's")
    with Journal(tmp_path, "f2") as journal:
        assert journal.get("a") is None
    assert not (tmp_path / "sub" / "a.bin").exists()
    assert other.exists()


@pytest.mark.parametrize("tail", ['{"part": "c", "cont', "[1]\n", "\x00\xff", '{"part": "c"}\n'])
def test_a_line_cut_short_ends_the_journal(tmp_path: Path, tail: str) -> None:
    interrupted(tmp_path)
    with (tmp_path / NAME).open("a") as file:
        file.write(tail)
    with Journal(tmp_path, "f1") as journal:
        assert journal.get("b") is not None
        assert journal.get("c") is None
        journal.add("c", 3)
    with Journal(tmp_path, "f1") as journal:
        assert journal.get("c") == 3


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_edited_line_is_done_again_and_the_others_are_kept(tmp_path: Path, number: int) -> None:
    interrupted(tmp_path)
    lines = (tmp_path / NAME).read_text().splitlines()
    changed = {0: ('"f1"', '"f0"'), 1: ("0.3", "0.4"), 2: ('"b"', '"a"')}[number]
    lines[number] = lines[number].replace(*changed)
    (tmp_path / NAME).write_text("\n".join(lines) + "\n")
    with Journal(tmp_path, "f1") as journal:
        assert [journal.get(name) is not None for name in ("a", "b")] == [
            number == 2, number == 1,
        ]  # fmt: skip


def test_lines_of_another_journal_do_not_count(tmp_path: Path) -> None:
    interrupted(tmp_path, "f1")
    text = (tmp_path / NAME).read_text()
    (tmp_path / NAME).write_text(text.replace('{"fingerprint": "f1"}', '{"fingerprint": "f2"}'))
    with Journal(tmp_path, "f2") as journal:
        assert journal.get("a") is None


def test_a_torn_line_in_the_middle_costs_that_line_alone(tmp_path: Path) -> None:
    interrupted(tmp_path)
    head, first, second = (tmp_path / NAME).read_text().splitlines()
    (tmp_path / NAME).write_text(f"{head}\n{first[:40]}\n{second}\n")
    with Journal(tmp_path, "f1") as journal:
        assert journal.get("a") is None
        assert journal.get("b") == {"value": 0.1 + 0.2}


def test_numbers_keys_and_texts_come_back_as_json_has_them(tmp_path: Path) -> None:
    with Journal(tmp_path, "f") as journal:
        journal.add("a", {2: float("nan"), 10: [float("inf"), 1e-320], "é\u2028": (1,)})
    with Journal(tmp_path, "f") as journal:
        found = journal.get("a")
    assert list(found) == ["2", "10", "é\u2028"]
    assert found["10"] == [float("inf"), 1e-320]


def test_remove_stays_inside_the_folder_and_clears_empty_subfolders(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    (folder / "x" / "y").mkdir(parents=True)
    (folder / "x" / "y" / "f").write_text("1")
    (folder / "keep").write_text("1")
    outside = tmp_path / "outside"
    outside.write_text("1")
    remove_files(folder, ["x/y/f", "../outside", str(outside), "", "missing"])
    assert outside.exists()
    assert not (folder / "x").exists()
    assert (folder / "keep").exists()


def test_a_forged_journal_cannot_delete_outside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    folder.mkdir()
    outside = tmp_path / "outside"
    outside.write_text("1")
    lines = [{"fingerprint": "old"}, {"part": "a", "content": 1, "files": {"../outside": "0"}}]
    (folder / NAME).write_text("\n".join(json.dumps(line) for line in lines))
    with Journal(folder, "new"):
        pass
    assert outside.exists()


@pytest.mark.parametrize("name", ["../precious", "/precious", "a\0b", "..\\precious"])
def test_files_of_a_foreign_journal_are_removed_inside_its_folder_alone(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "precious").write_text("x", encoding="utf-8")
    folder = tmp_path / "stage"
    folder.mkdir()
    lines = [{"fingerprint": "f0"}, {"part": "a", "content": 1, "files": {name: "0"}}]
    (folder / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    for fingerprint in ("f0", "f1"):
        with Journal(folder, fingerprint) as journal:
            assert journal.get("a") is None
    assert (tmp_path / "precious").is_file()


@pytest.mark.parametrize("line", ["[" * 100_000, '{"part": ' + "9" * 5000 + "}"])
def test_a_line_that_json_cannot_hold_ends_the_journal(tmp_path: Path, line: str) -> None:
    interrupted(tmp_path)
    with (tmp_path / NAME).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with Journal(tmp_path, "f1") as journal:
        assert journal.get("b") is not None


def do_share(folder: Path, share: Share, part: str, fingerprint: str = "f1") -> None:
    with Journal(folder, fingerprint, share) as journal:
        file = folder / f"{part}.bin"
        file.write_bytes(part.encode())
        journal.add(part, {"part": part}, [file])
        journal.end_share()


def test_a_share_that_ends_twice_is_written_once(tmp_path: Path) -> None:
    """A command that went on after a kill leaves the bytes of one that was not killed."""
    do_share(tmp_path, Share(0, 1), "c")
    once = (tmp_path / NAME).read_bytes()
    with Journal(tmp_path, "f1", Share(0, 1)) as journal:
        journal.end_share()
    assert (tmp_path / NAME).read_bytes() == once


def test_shares_keep_journals_of_their_own_which_the_whole_takes_over(tmp_path: Path) -> None:
    interrupted(tmp_path)
    do_share(tmp_path, Share(0, 2), "c")
    assert find_shares(tmp_path) == (2, [2])
    do_share(tmp_path, Share(1, 2), "d")
    assert find_shares(tmp_path) == (2, [])
    with Journal(tmp_path, "f1", Share(0, 2)) as journal:  # again: its own parts, and those before
        assert [journal.get(name) is None for name in "abcd"] == [False, False, False, True]
    with Journal(tmp_path, "f1") as journal:
        assert all(journal.get(name) is not None for name in "abcd")
        assert list_shares(tmp_path) == []
        journal.complete()
    assert find_shares(tmp_path) == (0, [])
    assert (tmp_path / "d.bin").exists()


def test_shares_of_other_settings_are_dropped_with_their_files(tmp_path: Path) -> None:
    do_share(tmp_path, Share(0, 2), "c", "f2")
    do_share(tmp_path, Share(1, 2), "d", "f1")
    with Journal(tmp_path, "f1") as journal:
        assert journal.get("c") is None
        assert journal.get("d") is not None
    assert not (tmp_path / "c.bin").exists()
    assert (tmp_path / "d.bin").exists()


def test_names_that_are_no_shares_are_left_alone(tmp_path: Path) -> None:
    other = tmp_path / ".unfinished-notes.jsonl"
    other.write_text("mine")
    interrupted(tmp_path)
    assert list_shares(tmp_path) == []
    with Journal(tmp_path, "f1") as journal:
        journal.complete()
    assert other.read_text() == "mine"
