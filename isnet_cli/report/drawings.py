"""Figures of a report as blocks of its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isnet_cli.output.plotting import data_uri, svg_text
from isnet_cli.report.blocks import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def embed_figure(
    figure: Figure, alt: str, *, keep_width: bool = False, sources: Sequence[str] = ()
) -> Picture:
    """A figure as an SVG picture.

    Args:
        figure: The figure.
        alt: All that it shows, in words.
        keep_width: Do not let it grow beyond its own width.
        sources: Files that it was made from.
    """
    uri = data_uri(svg_text(figure).encode(), "image/svg+xml")
    width = round(100 * figure.get_size_inches()[0]) if keep_width else 0
    return Picture(uri, alt, width=width, sources=sources)
