from __future__ import annotations

import os
import socket
import zipfile
from pathlib import Path

import pytest

from isnet_cli.guard.opening import (
    NotAFile,
    TooManyBytes,
    check_regular,
    open_archive,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
    read_text,
)

READERS = (check_regular, open_regular, read_bytes, read_text, read_json, open_archive)


def make(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / kind
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        os.chdir(tmp_path)  # the name of a socket may have 100 characters
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(kind)
    elif kind == "a device":
        path.symlink_to(os.devnull)
    elif kind == "a link to nothing":
        path.symlink_to(tmp_path / "gone")
    elif kind == "a link that leads to itself":
        path.symlink_to(path)
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "kind",
    [
        *("a named pipe", "a socket", "a device", "a link to nothing"),
        "a link that leads to itself",
    ],
)
def test_what_is_no_file_is_never_opened(
    tmp_path: Path, kind: str, reader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path, kind)
    with monkeypatch.context() as patch:
        patch.delattr(os, "open")
        with pytest.raises(NotAFile) as caught:
            reader(path)  # type: ignore[operator]
    assert caught.value.strerror == kind


def test_folders_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "no")


def test_a_pipe_that_takes_the_place_of_a_file_makes_nobody_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and the opening."""
    path = tmp_path / "file"
    path.touch()
    real = os.open

    def swap(name: Path, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(name, flags)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(NotAFile):
        open_regular(path)


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfa\r\nb")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_bytes(tmp_path / "link") == b"\xef\xbb\xbfa\r\nb"
    assert read_text(tmp_path / "link", "utf-8-sig") == "a\nb"


def test_no_more_bytes_than_the_limit_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    assert len(read_bytes(path, 100)) == 100
    for reader in (open_regular, read_bytes):
        with pytest.raises(TooManyBytes, match="larger than 99 bytes"):
            reader(path, 99)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"{}," * 100_000 + b"{}]", "of memory"),
        (b"9" * 5000, "limit"),
        (b"{", "Expecting"),
        (b"\xff", "decode"),
    ],
)
def test_json_that_is_none_or_too_much(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_json(content, memory=10_000_000 if b"{}" in content else 1 << 30)


def test_json_within_the_limits(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, "x"]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, "x"]}


def test_archives_are_measured_before_they_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(5_000_000))
    assert path.stat().st_size < 10_000
    with open_archive(path, 5_000_000) as file:
        assert file.read(2) == b"PK"
    with pytest.raises(ValueError, match="unpacks to 5 MB"):
        open_archive(path, 4_999_999)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="not a zip"):
        open_archive(path)
