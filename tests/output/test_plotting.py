"""Plotting: files of figures carry no date and no program name; nothing global is changed."""

import base64

import matplotlib as mpl

from isnet_cli.output.plotting import data_uri, draw_panel, draw_panels, svg_text


def test_svg_has_the_size_asked_for_and_depends_on_the_data_alone() -> None:
    first, same, other = (
        svg_text(draw_panel((3, 2), lambda axes, end=end: axes.plot([0, 1], [0, end])))
        for end in (1, 1, 2)
    )
    assert 'width="216pt" height="144pt"' in first
    assert first == same != other
    assert "<metadata>" not in first  # date and program


def test_row_has_its_panels_side_by_side() -> None:
    figure = draw_panels(
        (3, 2), [lambda axes: axes.set_title("one"), lambda axes: axes.set_title("two")]
    )
    assert figure.get_size_inches().tolist() == [6, 2]
    assert "one" in svg_text(figure)
    assert "two" in svg_text(figure)


def test_global_settings_are_as_before() -> None:
    before = dict(mpl.rcParams)
    svg_text(draw_panel((3, 2), lambda axes: None))
    assert dict(mpl.rcParams) == before


def test_data_uri() -> None:
    uri = data_uri(b"\x00\xff", "image/png")
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == b"\x00\xff"
