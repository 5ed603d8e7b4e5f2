"""Pictures: sizes, what each pixel says, what is refused, bytes without metadata."""

import io

import numpy as np
import pytest
from PIL import Image

from isnet_cli.export.images import (
    OUTLINE,
    SheetStyle,
    compose_panel,
    contact_sheet,
    film_tile,
    grey,
    jpeg_bytes,
    outlined,
    overlay,
    png_bytes,
)


def scene(height: int = 120, width: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grey film, one positive and one negative spot, and a box for lungs."""
    film = np.full((height, width), 0.4, np.float32)
    relevance = np.zeros((height, width), np.float32)
    relevance[30:40, 30:40] = 2e-3
    relevance[70:80, 60:70] = -2e-3
    mask = np.zeros((height, width), bool)
    mask[20:100, 20:80] = True
    return film, relevance, mask


def close_to(picture: np.ndarray, colour: tuple[int, ...], tolerance: int = 40) -> np.ndarray:
    return (np.abs(picture.astype(int) - np.array(colour)) < tolerance).all(axis=-1)


def test_overlay_colours_the_signs_and_leaves_the_rest() -> None:
    film, relevance, _ = scene()
    picture = overlay(film, relevance, None)
    assert picture.shape == (120, 100, 3)
    assert picture.dtype == np.uint8
    red, blue, rest = picture[35, 35], picture[75, 65], picture[5, 5]
    assert red[0] > red[2] + 80
    assert blue[2] > blue[0] + 80
    assert tuple(rest) == (102, 102, 102)


def test_a_given_limit_sets_the_strength() -> None:
    film, relevance, _ = scene()
    faint = overlay(film, relevance, None, limit=1.0)
    assert np.abs(faint.astype(int) - grey(film)).max() < 10
    strong = overlay(film, relevance, None, limit=1e-3)
    assert np.array_equal(strong[35, 35], overlay(film, relevance, None, limit=2e-3)[35, 35])


def test_smoothing_is_shown_and_does_not_touch_the_map() -> None:
    film, relevance, _ = scene()
    before = relevance.copy()
    assert not np.array_equal(
        overlay(film, relevance, None), overlay(film, relevance, None, smoothing=2.0)
    )
    assert np.array_equal(relevance, before)


def test_outline_lies_on_the_border_alone() -> None:
    film, _, mask = scene()
    picture = outlined(grey(film), mask)
    yellow = close_to(picture, OUTLINE, 110)
    rows, columns = np.nonzero(yellow)
    assert yellow.any()
    assert rows.min() >= 18
    assert rows.max() <= 101
    assert columns.min() >= 18
    assert columns.max() <= 81
    assert not yellow[25:95, 25:75].any()
    assert yellow[:, 50].sum() >= 2  # upper and lower border


def test_outline_survives_a_large_film_shown_small() -> None:
    mask = np.zeros((2000, 1600), bool)
    mask[300:1500, 300:1300] = True
    picture = Image.fromarray(outlined(grey(np.zeros(mask.shape, np.float32)), mask))
    small = np.asarray(picture.resize((200, 250), Image.Resampling.BOX))
    assert small[100, 30:45].max() > 150


def test_outline_of_empty_full_and_absent_masks_is_the_film() -> None:
    film = grey(scene()[0])
    for mask in (np.zeros((120, 100), bool), np.ones((120, 100), bool), None):
        assert np.array_equal(outlined(film, mask), film)


def test_panel_holds_film_overlay_bar_and_words() -> None:
    film, relevance, mask = scene()
    panel = compose_panel(film, relevance, mask, title="film-1", caption="Label: tb", height=240)
    assert panel.shape[0] > 240
    assert panel.shape[1] > 2 * 200
    left, right = panel[:, : panel.shape[1] // 2], panel[:, panel.shape[1] // 2 :]
    assert (left.max(-1).astype(int) - left.min(-1))[~close_to(left, OUTLINE, 200)].max() < 30
    assert close_to(right, tuple(overlay(film, relevance, None)[35, 35]), 30).any()
    assert (panel[0] == 255).all()  # paper around


def test_panel_words_change_the_picture() -> None:
    film, relevance, mask = scene()
    one = compose_panel(film, relevance, mask, title="film-1", caption="a", height=240)
    for other in (
        compose_panel(film, relevance, mask, title="film-2", caption="a", height=240),
        compose_panel(film, relevance, mask, title="film-1", caption="b", height=240),
        compose_panel(film, relevance, mask, title="film-1", caption="a", limit=1, height=240),
    ):
        assert one.shape == other.shape
        assert not np.array_equal(one, other)


def test_a_smoothed_panel_says_so() -> None:
    film, _, mask = scene()
    nothing = np.zeros_like(film)  # smoothing changes no pixel of the map, so only the note differs
    plain = compose_panel(film, nothing, mask, title="t", caption="c")
    told = compose_panel(film, nothing, mask, title="t", caption="c", smoothing=2.0)
    height = plain.shape[0] - 60
    assert np.array_equal(plain[:height], told[:height])
    assert (told[height:] < 128).sum() > (plain[height:] < 128).sum()


@pytest.mark.parametrize("shape", [(40, 400), (400, 40), (3, 3)])
def test_panels_of_odd_shapes(shape: tuple[int, int]) -> None:
    film = np.full(shape, 0.5, np.float32)
    panel = compose_panel(film, film, film > 1, title="x" * 400, caption="y " * 900, height=200)
    assert panel.ndim == 3


def test_hostile_words_are_drawn() -> None:
    film, relevance, mask = scene()
    compose_panel(film, relevance, mask, title="a\x00\udcff\nb", caption="<script>\r\n", height=200)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"relevance": np.zeros((5, 5), np.float32)}, "relevance: shape"),
        ({"mask": np.zeros((5, 5), bool)}, "mask: shape"),
        ({"film": np.zeros((120, 100, 3), np.float32)}, "film: shape"),
        ({"relevance": np.full((120, 100), np.nan, np.float32)}, "NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray], words: str) -> None:
    film, relevance, mask = scene()
    parts = {"film": film, "relevance": relevance, "mask": mask, **change}
    with pytest.raises(ValueError, match=words):
        overlay(parts["film"], parts["relevance"], parts["mask"])


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


def test_film_tile_keeps_the_aspect_ratio_and_outlines() -> None:
    film, _, mask = scene(240, 100)
    tile = film_tile(film, mask, side=96)
    assert tile.shape == (96, 40, 3)
    assert close_to(tile, OUTLINE, 60).any()
    assert not close_to(film_tile(film, side=96), OUTLINE, 60).any()


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
    film, relevance, mask = scene()
    picture = overlay(film, relevance, mask)
    content = jpeg_bytes(picture)
    assert len(content) < len(picture.tobytes()) / 4
    back = Image.open(io.BytesIO(content))
    assert np.abs(np.asarray(back).astype(int) - picture).mean() < 4
    assert not back.getexif()
    assert "comment" not in back.info
