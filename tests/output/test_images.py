"""Picture files: contact sheets in order, bytes without metadata."""

import io

import numpy as np
import pytest
from PIL import Image

from isnet_cli.output.images import SheetStyle, contact_sheet, jpeg_bytes, overlay, png_bytes
from tests.output.factory import close_to, scene


def test_contact_sheet_places_tiles_row_by_row() -> None:
    colours = [(200, 10, 10), (10, 200, 10), (10, 10, 200)]
    tiles = [np.full((40, 60, 3), c, np.uint8) for c in colours]
    style = SheetStyle(cell=96)
    sheet = contact_sheet(tiles, ["one", "two", "three"], 2, style=style)
    centres = []
    for colour in colours:
        rows, columns = np.nonzero(close_to(sheet, colour, 10))
        assert len(rows) == pytest.approx(96 * 64, rel=0.02)  # aspect ratio kept
        centres.append((rows.mean(), columns.mean()))
    assert centres[0][0] == pytest.approx(centres[1][0])
    assert centres[0][1] < centres[1][1]
    assert centres[2][0] > centres[0][0] + 96
    assert centres[2][1] == pytest.approx(centres[0][1])


def test_contact_sheet_takes_grey_tiles_and_few_tiles() -> None:
    sheet = contact_sheet([np.zeros((9, 9), np.uint8)], ["one"], 8)
    assert sheet.shape[1] < 2 * SheetStyle().cell


@pytest.mark.parametrize(("tiles", "captions", "columns"), [(0, 0, 2), (2, 1, 2), (1, 1, 0)])
def test_contact_sheet_refuses_what_makes_no_sheet(tiles: int, captions: int, columns: int) -> None:
    with pytest.raises(ValueError, match="tiles"):
        contact_sheet([np.zeros((4, 4), np.uint8)] * tiles, ["c"] * captions, columns)


def test_a_heading_stands_above_the_same_pictures() -> None:
    tiles = [np.full((20, 20, 3), level, np.uint8) for level in (60, 200)]
    plain = contact_sheet(tiles, ["a\nb", "c"], 2, style=SheetStyle(60, 10, 2))
    headed = contact_sheet(
        tiles, ["a\nb", "c"], 2, style=SheetStyle(60, 10, 2), heading=["Title", "words"]
    )
    extra = headed.shape[0] - plain.shape[0]
    assert extra > 20
    assert np.array_equal(headed[extra:], plain)
    assert (headed[:extra] < 128).any()


def test_line_feeds_of_captions_are_kept() -> None:
    tile = [np.zeros((20, 20, 3), np.uint8)]
    style = SheetStyle(120, 10, 2)
    one, two = (contact_sheet(tile, [text], 1, style=style) for text in ("a b", "a\nb"))
    assert one.shape == two.shape
    assert not np.array_equal(one, two)


def test_png_is_exact_deterministic_and_bare() -> None:
    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    content = png_bytes(picture)
    assert content == png_bytes(picture.copy())
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), picture)
    kinds, place = [], 8
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        kinds.append(content[place + 4 : place + 8])
        place += length + 12
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_jpeg_is_small_close_and_bare() -> None:
    image, relevance, mask = scene()
    picture = overlay(image, relevance, mask)
    content = jpeg_bytes(picture)
    assert len(content) < len(picture.tobytes()) / 4
    back = Image.open(io.BytesIO(content))
    assert np.abs(np.asarray(back).astype(int) - picture).mean() < 4
    assert not back.getexif()
    assert "comment" not in back.info
