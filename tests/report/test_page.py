"""The page: all sections in order, each once, with the facts beside the heading."""

import pytest

from isnet_cli.report.page import build_page
from isnet_cli.report.render import render
from isnet_cli.report.results import Cohort
from tests.report.page_reader import Page
from tests.report.sections.factory import biased, pictures, relevance_map, run

ORDER = [
    "about", "cohort", "masks", "training", "scores", "calibration", "shift", "background",
    "relevance", "maps", "images", "configuration", "versions", "limits",
]  # fmt: skip


def test_sections_in_order_even_when_there_is_nothing() -> None:
    missing = dict.fromkeys(("ingest", "masks", "train", "evaluate", "heatmap"), "not run")
    runs, cohorts = [run(missing=missing)], [Cohort("c", ["isnet"], missing=missing)]
    report = build_page(runs, cohorts, pictures(runs, cohorts))
    assert [section.name for section in report.sections] == ORDER
    assert Page(render(report)).ids == ORDER
    assert all(section.blocks for section in report.sections)


def test_heading_and_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isnet_cli.report.drawings.svg_text", lambda figure: "<svg/>")
    done = {"status": "done", "finished": "2026-01-01T10:05:00+00:00"}
    record = {"versions": {"isnet": "0.1.0"}, "stages": {"train": done}}
    one = biased("one", [0.8] * 3)
    runs = [one, run("two", record=record), run("three")]
    report = build_page(runs, [], pictures(runs))
    assert report.title == "Report on one, two and three"
    facts = dict(report.facts)
    assert facts["classes"] == "a, b"
    assert facts["runs"] == "3"
    assert facts["last stage finished"] == "2026-01-01 10:05 UTC"
    assert facts["made by"] == "isnet 0.1.0"
    assert "images" not in facts
    assert build_page(runs[:1], [], pictures(runs[:1])).title == "Report on one"


def test_every_section_names_its_files_but_the_limits() -> None:
    report = build_page([run()], [], pictures([run()], maps=[[relevance_map("f")]]))
    assert [s.name for s in report.sections if not s.sources] == ["limits"]
