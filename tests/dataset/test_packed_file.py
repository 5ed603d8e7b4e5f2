"""The packed file: written once, read in any order, refused when it is not the one written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from isnet_cli.dataset import packed_file
from isnet_cli.dataset.packed_file import CARD, FILE, PackedRecords, open_packed, pack
from isnet_cli.dataset.records import RecordForm
from isnet_cli.errors import IsnetError

FORM, COUNT = RecordForm(6, 5), 4
IDENTITY = "a" * 64


def make_pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    for _ in range(COUNT):
        yield rng.integers(0, 65536, (6, 5)).astype(np.uint16), rng.random((6, 5)) < 0.5


def pack_here(folder: Path, identity: str = IDENTITY) -> PackedRecords:
    return pack(folder, identity, FORM, COUNT, make_pairs)


def read(records: PackedRecords, *places: int) -> np.ndarray:
    into = np.empty((len(places), FORM.size), np.uint8)
    records.read(np.array(places), into)
    return into


def test_it_is_written_once_and_read_in_any_order(tmp_path: Path) -> None:
    first = pack_here(tmp_path)
    pairs = list(make_pairs())
    found = read(first, 3, 0, 3)
    assert np.array_equal(FORM.lungs(found), np.stack([pairs[i][1] for i in (3, 0, 3)]))
    whole = np.load(tmp_path / FILE, mmap_mode="r")  # a plain array of NumPy
    assert np.array_equal(whole["image"], np.stack([image for image, _ in pairs]))
    before = (tmp_path / FILE).stat().st_mtime_ns
    assert np.array_equal(read(pack_here(tmp_path), 3, 0, 3), found)
    assert (tmp_path / FILE).stat().st_mtime_ns == before


def test_other_images_or_settings_are_packed_anew(tmp_path: Path) -> None:
    pack_here(tmp_path)
    assert open_packed(tmp_path, "b" * 64, FORM, COUNT) is None
    pack_here(tmp_path, "b" * 64)
    assert open_packed(tmp_path, IDENTITY, FORM, COUNT) is None
    assert open_packed(tmp_path / "none", IDENTITY, FORM, COUNT) is None


def test_a_file_that_is_not_as_it_was_written_is_refused(tmp_path: Path) -> None:
    pack_here(tmp_path)
    path, content = tmp_path / FILE, (tmp_path / FILE).read_bytes()
    for damaged, found in (
        (content[:-1], "cut short"),
        (content + b"x", "expected"),
        (b"x" * len(content), "not an array that NumPy wrote"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(IsnetError, match=found) as caught:
            pack_here(tmp_path)
        assert caught.value.kind == "data"
        assert FILE in caught.value.fix
    path.unlink()
    with pytest.raises(IsnetError, match="is gone"):
        pack_here(tmp_path)
    path.write_bytes(content)
    (tmp_path / CARD).write_text((tmp_path / CARD).read_text().replace(": 4,", ": 5,"))
    with pytest.raises(IsnetError, match="changed since it was written"):
        pack_here(tmp_path)


def test_records_of_another_run_or_place_are_refused(tmp_path: Path) -> None:
    own = pack_here(tmp_path / "own")
    pack_here(tmp_path / "other", "b" * 64)
    shutil.copyfile(tmp_path / "other" / FILE, tmp_path / "own" / FILE)
    with pytest.raises(IsnetError, match="image 1 is not the one that was written"):
        read(pack_here(tmp_path / "own"), 1)
    content = bytearray((tmp_path / "own" / FILE).read_bytes())
    a, b = (slice(own.start + i * FORM.size, own.start + (i + 1) * FORM.size) for i in (0, 1))
    content[a], content[b] = content[b], content[a]
    (tmp_path / "own" / FILE).write_bytes(content)
    with pytest.raises(IsnetError, match="image 0 is not the one that was written"):
        read(pack_here(tmp_path / "own"), 0)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_file_that_is_cut_while_it_is_read_is_an_error(
    tmp_path: Path, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:  # a system that cannot read at a position
        monkeypatch.delattr(os, "preadv")
    records = pack_here(tmp_path)
    assert read(records, 2).any()
    os.truncate(tmp_path / FILE, records.start + 2 * FORM.size + 5)
    assert read(records, 1).any()
    with pytest.raises(IsnetError, match="ends at image 2 of 4"):
        read(records, 2)


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10, 9, 1)
    monkeypatch.setattr(packed_file.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(IsnetError, match="1 bytes left") as caught:
        pack_here(tmp_path)
    assert caught.value.kind == "machine"
    assert not (tmp_path / FILE).exists()
