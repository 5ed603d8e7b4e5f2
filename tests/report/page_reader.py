"""Reads an HTML page back: its tags in order, its words, the addresses it would load."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"wbr", "img", "meta", "br", "hr", "link", "input"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background", "formaction"}


class Page(HTMLParser):
    """One parsed page.

    Attributes:
        tags: Names of all start tags, in order.
        attributes: (tag, attribute, value) of all attributes.
        words: All text, style sheets apart, joined by spaces.
        codes: Texts of all code elements.
        cells: Rows of table cells, of all tables.
        style: Text of the style sheets.
        ids: Values of all ids.
    """

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.style, self.ids = "", []
        self.cells: list[list[str]] = []
        self.codes: list[str] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self._broken = False
        self.feed(content)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    @property
    def words(self) -> str:
        return " ".join(" ".join(self._words).split())

    def addresses(self) -> list[str]:
        """Everything that a browser could load or follow."""
        return [value for _, name, value in self.attributes if name in LOADING]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._broken = tag == "wbr"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag == "tr":
            self.cells.append([])
        if tag in {"td", "th"}:
            self.cells[-1].append("")
        if tag == "code":
            self.codes.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.style += data
            return
        if self._broken:  # a path goes on after the place where it may be broken
            self._words[-1] += data
        else:
            self._words.append(data)
        self._broken = False
        if "code" in self._open:
            self.codes[-1] += data
        if {"td", "th"} & set(self._open):
            self.cells[-1][-1] += data
