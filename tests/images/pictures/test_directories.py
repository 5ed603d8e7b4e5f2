"""Directories of TIFF files that contradict the format."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.pictures.directories import check_directories
from isnet_cli.images.read import read_images

LOOP = "damaged: the directories of the TIFF file form a loop"
TWICE = "damaged: a tag of the TIFF file is there twice"


def write_pages(path: Path, pages: int = 3, **options: object) -> bytes:
    shade = np.linspace(0, 255, 60 * 64).reshape(60, 64).astype(np.uint8)
    first, *rest = [Image.fromarray(np.roll(shade, 9 * n)) for n in range(pages)]
    first.save(path, "TIFF", save_all=True, append_images=rest, **options)
    return path.read_bytes()


def find_chain(content: bytes) -> list[int]:
    """Where the offset of each directory stands, and the zero at the end."""
    places, at = [4], struct.unpack_from("<I", content, 4)[0]
    while at:
        (count,) = struct.unpack_from("<H", content, at)
        places.append(at + 2 + 12 * count)
        (at,) = struct.unpack_from("<I", content, places[-1])
    return places


@pytest.mark.parametrize("big", [False, True])
def test_sound_files_have_no_notes(tmp_path: Path, big: bool) -> None:
    write_pages(tmp_path / "a.tif", big_tiff=big)
    assert check_directories(tmp_path / "a.tif", 500) == ()
    assert [image.notes for image in read_images(tmp_path / "a.tif")] == [()] * 3


def test_a_loop_that_hides_pages_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    content = bytearray(write_pages(path))
    first, second, *_ = find_chain(bytes(content))
    content[second : second + 4] = content[first : first + 4]
    path.write_bytes(content)
    assert check_directories(path, 500) == (LOOP,)
    assert {note for image in read_images(path) for note in image.notes} >= {LOOP}


def test_a_tag_that_is_there_twice_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    content = bytearray(write_pages(path, 1))
    (at,) = struct.unpack_from("<I", content, 4)
    content[at + 14 : at + 16] = content[at + 2 : at + 4]  # the second entry's tag
    path.write_bytes(content)
    assert check_directories(path, 500) == (TWICE,)


def test_a_mask_with_such_directories_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    two = np.zeros((40, 40), np.uint8)
    two[10:20] = 255
    Image.fromarray(two).save(path)
    content = bytearray(path.read_bytes())
    place = find_chain(bytes(content))[1]
    content[place : place + 4] = content[4:8]
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match="form a loop") as caught:
        load_mask(path)
    assert caught.value.reason == "mask_unreadable"


@pytest.mark.parametrize("size", range(16))
def test_files_that_end_early_are_left_to_the_decoder(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(write_pages(path)[:size])
    assert check_directories(path, 500) == ()
