"""One HTML file from a report's data: everything inside it, nothing loaded, nothing executed."""

from __future__ import annotations

import re
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from isnet_cli.report.blocks import Block, Columns, Gallery, Grid, Picture, Report
from isnet_cli.text.forms import cut_middle, for_picture

TEMPLATE = "report.html.j2"
LONGEST = 80  # letters of a name in a table
_WITH_RANGE = re.compile(r"([^\[\]]+) (\[[^\[\]]+\])")


def render(report: Report) -> str:
    """The report as one self-contained HTML page.

    Names of classes, sets and images come from users' files and are untrusted: every value is
    escaped, and the page's own policy forbids scripts and any address but ``data:``.

    Raises:
        ValueError: When a picture's address is not ``data:``.
    """
    _check_pictures(report)
    return _make_environment().get_template(TEMPLATE).render(report=report)


@lru_cache(maxsize=1)
def _make_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("isnet_cli.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean_value,
    )
    environment.filters["path"] = _break_path
    environment.filters["ranged"] = _split_interval
    environment.filters["name"] = _shorten_name
    return environment


def _break_path(text: str) -> Markup:
    """A file's key that may be broken after a slash; escaped."""
    return Markup(str(escape(for_picture(text))).replace("/", "/<wbr>"))  # noqa: S704 - escaped


def _shorten_name(text: str, longest: int = LONGEST) -> Markup:
    """A name that leaves room for the others; the whole one shows under the pointer; escaped."""
    shown = for_picture(text, lines=True)
    if len(shown) <= longest:
        return escape(shown)
    short = escape(cut_middle(shown, longest))
    return Markup(f'<span title="{escape(shown)}">{short}</span>')  # noqa: S704 - escaped


def _split_interval(text: str) -> Markup:
    """A figure with its interval on a line of its own; escaped."""
    found = _WITH_RANGE.fullmatch(for_picture(text))
    if found is None:
        return escape(for_picture(text, lines=True))
    value, ends = map(escape, found.groups())
    return Markup(f'{value} <span class="range">{ends}</span>')  # noqa: S704 - escaped


def _clean_value(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return for_picture(value, lines=True)
    return value


def _check_pictures(report: Report) -> None:
    for section in report.sections:
        if not all(uri.startswith("data:image/") for b in section.blocks for uri in _list_uris(b)):
            raise ValueError(f"section '{section.name}': a picture is not a data: address")


def _list_uris(block: Block) -> list[str]:
    if isinstance(block, Picture):
        return [block.uri]
    if isinstance(block, Grid):
        return [picture.uri for picture in block.pictures]
    if isinstance(block, Columns):
        return [uri for grid in block.grids for uri in _list_uris(grid)]
    if isinstance(block, Gallery):
        return [cell.uri for row in block.rows for cell in row.cells if cell is not None]
    return []
