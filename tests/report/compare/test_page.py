"""The page: its sections, the facts beside the heading, where its figures come from."""

from __future__ import annotations

from isnet_cli.report.blocks import Notice, Section, Table
from isnet_cli.report.compare.page import build_compare_page
from isnet_cli.report.render import render
from tests.report.compare.content import content, group
from tests.report.page_reader import Page
from tests.report.sections.factory import only

MAPS = Section("maps", "Relevance maps", [Notice("none", "empty")], ("heatmap/index.csv",))


def test_sections_and_facts() -> None:
    report = build_compare_page(content(), MAPS, "c")
    names = [section.name for section in report.sections]
    assert Page(render(report)).ids == names
    assert names == ["about", "scores", "tests", "seeds", "reliance", "maps", "origins", "limits"]
    assert report.title == "Comparison of one and two"
    facts = dict(report.facts)
    assert facts["test sets"] == "test (9 images)"
    assert facts["runs"] == "2"
    assert report.sections[5].sources == ("c.json", "heatmap/index.csv")
    runs = content()["runs"] * 3
    assert build_compare_page(content(runs=runs), MAPS, "c").title.endswith(
        "one, two, one, two and 2 more"
    )


def test_a_glance_tells_runs_results_notes_and_what_is_left_out() -> None:
    left_out = [{"set": "far", "version": "standard", "kind": "absent", "why": "not there"}]
    found = content(left_out=left_out, notes=["Mind this."], seeds=[group()])
    found["runs"][0] |= {"settings": "both", "seed": None}
    about = build_compare_page(found, MAPS, "c").sections[0]
    models, main = only(about, Table)
    assert models.rows[0] == ("one", "isnet", "small", "64 x 64", "n/a", "both")
    assert models.rows[1][4:] == ("1", "none")
    assert main.rows[1] == ("test", "two", "0.800", "0.800", "0.500", "50.0\xa0%", "25.0\xa0%")
    (notice,) = only(about, Notice)
    assert (notice.tone, notice.text) == ("warning", "Left out: far, standard images: not there.")
    assert "Mind this." in [getattr(block, "text", "") for block in about.blocks]


def test_origins_name_every_file_with_its_hash() -> None:
    list_sources = build_compare_page(content(), MAPS, "c").sections[6]
    (table,) = only(list_sources, Table)
    assert table.rows[0] == ("one", "one", "evaluate/metrics.json", "ab" * 32)
