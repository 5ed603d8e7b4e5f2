"""The look of all figures, and their files: SVG that depends on the data alone."""

from __future__ import annotations

import base64
import io
import textwrap
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isnet_cli.text.forms import cut_middle, for_picture

INK, SOFT, RULE = "#1c2127", "#5b6470", "#d5d9de"
# Told apart by hue and by lightness: readable for colour-blind people and on a grey print.
# White letters are for the dark ones only; see `figures`.
SERIES = ("#1f5fa8", "#d9822b", "#3a9277", "#8b5aa8", "#8a8f98", "#b03a48")

STYLE: Any = {  # Any: stubs of matplotlib's versions differ in the type of keys
    "svg.hashsalt": "isnet",
    "svg.fonttype": "none",  # letters stay letters: small, searchable, any script
    "text.parse_math": False,  # a class called "$x$" is a name, not a formula
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.7,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def draw_panel(size: tuple[float, float], draw: Callable[[Axes], None]) -> Figure:
    """A figure of one panel in the common style.

    Args:
        size: Width and height in inches.
        draw: Puts the data on the axes.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        return figure


def draw_panels(size: tuple[float, float], draws: list[Callable[[Axes], None]]) -> Figure:
    """A figure of several panels side by side, each of `size` inches."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size[0] * len(draws), size[1]), layout="constrained")
        for place, draw in enumerate(draws):
            draw(figure.add_subplot(1, len(draws), place + 1))
        return figure


def svg_text(figure: Figure) -> str:
    """SVG of `figure`; the same figure gives the same text, without date or program name."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # The viewer's fonts draw the letters, so a glyph that is missing here does no harm.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        nothing = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return for_picture(buffer.getvalue(), lines=True)


def data_uri(content: bytes, kind: str) -> str:
    """`content` of media type `kind` (``image/png``) as a ``data:`` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def shorten(text: str, width: int) -> str:
    """`text` of at most `width` characters, legal in SVG; the middle gives way to an ellipsis."""
    return cut_middle(for_picture(text, lines=True), width)


def wrap_text(text: str, width: int, lines: int = 3) -> str:
    """`text` in at most `lines` lines of `width` characters."""
    plain = for_picture(text, lines=True)
    parts = [shorten(part, width) for raw in plain.split("\n") for part in _broken(raw, width)]
    if len(parts) > lines:
        parts = [*parts[: lines - 1], shorten(" ".join(parts[lines - 1 :]), width)]
    return "\n".join(parts)


def _broken(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False) or [text]
