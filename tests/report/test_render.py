"""The page: every block appears, everything is escaped, nothing is loaded, nothing runs."""

from __future__ import annotations

import re
from importlib import resources
from typing import get_args

import pytest
from jinja2 import UndefinedError

from isnet_cli.report.blocks import (
    Block,
    Code,
    Columns,
    Flow,
    Fold,
    Gallery,
    GalleryRow,
    Grid,
    Notice,
    Picture,
    Report,
    Section,
    Step,
    Table,
    Text,
)
from isnet_cli.report.render import _make_environment, render
from tests.report.page_reader import Page

SHOWN = 48  # how often `report` shows its word, alternative texts apart
URI = "data:image/png;base64,AAAA"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=http://evil.example/x>',
    "{{ 7 * 7 }}{% raw %}",
    "</style><script src=//evil.example>",
    "'onmouseover='alert(1)",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "nul\x00 bell\x07 lone\udcff turn\u202egnp",
]


def blocks(word: str) -> list[Block]:
    """One block of each kind, `word` wherever text may stand."""
    picture = Picture(URI, word, word, head=word, width=500)
    cells = [word, f"{word} [0.1, 0.2]"]
    groups = [("", 1), (word, 1)]
    table = Table([word, "n"], [cells], word, notes=[word], groups=groups, sources=[word])
    return [
        Text(word),
        Notice(word, "warning"),
        table,
        picture,
        Grid([picture, picture], title=word),
        Columns(word, [Grid([picture], title=word)], note=word, sources=[word]),
        Flow([Step(3, word, [(word, 1)]), Step(2, word)], word),
        Gallery(2, [GalleryRow(word, [picture, None])], word),
        Code(word, word),
        Fold(word, table),
    ]


def report(word: str) -> Report:
    return Report(word, word, [Section("one", word, blocks(word), [word])], [(word, word)])


def test_every_block_is_shown() -> None:
    page = Page(render(report("finding")))
    assert page.words.count("finding") == SHOWN
    assert page.tags.count("img") == 5
    assert page.tags.count("table") == 2
    assert page.tags.count("details") == 2
    assert "no map" in page.words
    assert page.ids == ["one"]
    assert ("a", "href", "#one") in page.attributes
    assert page.cells == [["", "finding"], ["finding", "n"], ["finding", "finding [0.1, 0.2]"]] * 2


@pytest.mark.parametrize("word", HOSTILE)
def test_untrusted_words_stay_words(word: str) -> None:
    plain, hostile = Page(render(report("finding"))), Page(render(report(word)))
    # No tag more or less, whatever the names say; <wbr> is a place where a path may be broken.
    assert [tag for tag in hostile.tags if tag != "wbr"] == plain.tags
    names = [(tag, name) for tag, name, _ in plain.attributes]
    assert [(tag, name) for tag, name, _ in hostile.attributes] == names
    assert hostile.style == plain.style
    shown = re.sub(r"[\x00\x07\udcff\u202e]", "", " ".join(word.split()))
    letters = hostile.words.replace("\ufffd", "").replace("?", "")
    assert letters.count(shown.replace("?", "")) == SHOWN
    hostile_bytes = render(report(word)).encode("utf-8")
    assert b"\x00" not in hostile_bytes


@pytest.mark.parametrize("word", ["finding", *HOSTILE])
def test_nothing_is_loaded_and_nothing_runs(word: str) -> None:
    page = Page(render(report(word)))
    assert all(a.startswith(("data:image/", "#")) for a in page.addresses())
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "url(" not in page.style
    assert "@import" not in page.style
    policies = [v for t, n, v in page.attributes if t == "meta" and "default-src" in v]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "script" not in policies[0]


@pytest.mark.parametrize("uri", ["http://evil.example/x.png", "javascript:1", "data:text/html,x"])
@pytest.mark.parametrize("make", [
    lambda p: p,
    lambda p: Grid([p]),
    lambda p: Columns("t", [Grid([p])]),
    lambda p: Gallery(1, [GalleryRow("t", [None, p])]),
])  # fmt: skip
def test_pictures_from_elsewhere_are_refused(make: object, uri: str) -> None:
    section = Section("one", "One", [make(Picture(uri, "alt"))])
    with pytest.raises(ValueError, match="not a data: address"):
        render(Report("t", "s", [section]))


def test_a_name_that_the_template_does_not_know_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        _make_environment().from_string("{{ nothing }}").render()


def test_same_report_same_page() -> None:
    assert render(report("x")) == render(report("x"))


def test_an_interval_stands_on_a_line_of_its_own_and_only_an_interval() -> None:
    cells = ["0.812 [0.745, 0.871]", "[0.7]", "plain"]
    table = Table(["a", "b", "c", "d"], [["row", *cells]])
    content = render(Report("t", "s", [Section("one", "One", [table])]))
    assert content.count('class="range"') == 1
    assert Page(content).cells[1] == ["row", *cells]


def test_tables_can_be_scrolled_by_keyboard_and_have_a_name() -> None:
    table = Table(["a"], [["x"]])
    page = Page(render(Report("t", "s", [Section("one", "Scores <b>", [table])])))
    found = {name: value for tag, name, value in page.attributes if tag == "div"}
    assert found["tabindex"] == "0"
    assert ("div", "aria-label", "Scores <b>") in page.attributes


def test_each_block_has_its_own_kind_and_the_template_knows_it() -> None:
    kinds = [block.kind for block in get_args(Block)]
    assert len(set(kinds)) == len(kinds) == 10
    folder = resources.files("isnet_cli.report") / "templates"
    template = (folder / "report.html.j2").read_text(encoding="utf-8")
    assert [kind for kind in kinds if f'block.kind == "{kind}"' not in template] == []


def test_a_long_name_is_shortened_and_whole_under_the_pointer() -> None:
    word = "<b>" + "y" * 400
    page = render(Report("r", "s", [Section("a", "A", [Table([word, "n"], [[word, "1"]])])]))
    assert f"{'y' * 39}</span></th>" in page
    assert f'title="&lt;b&gt;{"y" * 400}"' in page
    assert "<b>y" not in page
