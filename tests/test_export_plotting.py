"""Plotting: files of figures carry no date and no program name; nothing global is changed."""

import base64
import io

import matplotlib as mpl
import numpy as np
from PIL import Image

from isnet_cli.export.plotting import data_uri, drawn, drawn_row, figure_png, svg_text


def test_png_has_the_size_asked_for_and_no_text() -> None:
    figure = drawn((3, 2), lambda axes: axes.plot([0, 1], [0, 1]))
    content = figure_png(figure, dpi=100)
    picture = Image.open(io.BytesIO(content))
    assert picture.size == (300, 200)
    assert "Software" not in picture.info
    assert b"tEXt" not in content
    assert np.asarray(picture.convert("L")).min() < 128
    assert content == figure_png(drawn((3, 2), lambda axes: axes.plot([0, 1], [0, 1])), dpi=100)


def test_row_has_its_panels_side_by_side() -> None:
    figure = drawn_row(
        (3, 2), [lambda axes: axes.set_title("one"), lambda axes: axes.set_title("two")]
    )
    assert figure.get_size_inches().tolist() == [6, 2]
    assert "one" in svg_text(figure)
    assert "two" in svg_text(figure)


def test_global_settings_are_as_before() -> None:
    before = dict(mpl.rcParams)
    svg_text(drawn((3, 2), lambda axes: None))
    assert dict(mpl.rcParams) == before


def test_data_uri() -> None:
    uri = data_uri(b"\x00\xff", "image/png")
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == b"\x00\xff"
