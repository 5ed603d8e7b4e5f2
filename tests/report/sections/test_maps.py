"""Maps: rows of the same images; images that stand out."""

from __future__ import annotations

from isnet_cli.report.blocks import Columns, Gallery, Grid, Notice
from isnet_cli.report.pictures import ChosenImages, MapCoverage, Pick
from isnet_cli.report.sections.maps import build_images_section, build_maps_section
from tests.report.sections.factory import only, relevance_map, run, said

FILES = ("heatmap/index.csv", "evaluate/test/standard/predictions.csv")


def test_one_run_shows_its_images_with_all_words() -> None:
    maps = [relevance_map("f1", "b"), relevance_map("f2", target="b")]
    section = build_maps_section([run()], [maps], "Smoothed.")
    (grid,) = only(section, Grid)
    first, second = grid.pictures
    assert first.head == "f1"
    assert first.caption == "label b · predicted a (0.75) · 12.5\N{NO-BREAK SPACE}% outside"
    assert "map of b (0.75)" in second.caption
    assert first.photo
    assert "f1" in first.alt
    assert "outline of the lungs. Smoothed." in said(section)


def test_several_runs_share_a_card_for_each_image() -> None:
    maps = [[relevance_map("f1"), relevance_map("f2")], [relevance_map("f2", outside=None)]]
    (gallery,) = only(build_maps_section([run("one"), run("two")], maps), Gallery)
    assert gallery.columns == 2
    assert [row.title for row in gallery.rows] == ["f1 · label a", "f2 · label a"]
    assert [cell is None for cell in gallery.rows[0].cells] == [False, True]
    left, right = gallery.rows[1].cells
    assert (left.head, right.head) == ("one", "two")
    assert "outside" not in right.caption


def test_labels_of_a_multilabel_task_are_the_positive_ones() -> None:
    settings = {"data": {"labels": {"task": "multilabel"}}}
    maps = [relevance_map("f", "tb=1;old=0;x=?")]
    section = build_maps_section([run(settings=settings)], [maps])
    assert only(section, Grid)[0].pictures[0].caption.startswith("label tb ·")


def test_sets_have_headings_when_there_are_several() -> None:
    maps = [relevance_map("f1"), relevance_map("f2", group="Set other")]
    assert [g.title for g in only(build_maps_section([run()], [maps]), Grid)] == [
        "Set test",
        "Set other",
    ]
    assert only(build_maps_section([run()], [maps[:1]]), Grid)[0].title == ""


def test_a_run_without_maps_is_named() -> None:
    section = build_maps_section([run("one", missing={"heatmap": "isnet heatmap RUN"})], [[]])
    assert only(section, Notice)[0].text.endswith("one: isnet heatmap RUN")
    assert len(section.blocks) == 1


def test_lists_of_a_set_stand_together() -> None:
    images = [relevance_map("f1", note="flips to b"), relevance_map("f2")]
    picks = [Pick("Set test", "most", images, 9, FILES), Pick("Set test", "wrong", images[:1], 1)]
    cover = MapCoverage("Set test", 30, 10, 12, [("lung mask is suspect", 2)])
    section = build_images_section([run("one")], [ChosenImages(picks, [cover])])
    (columns,) = only(section, Columns)
    assert columns.title == "Set test"
    assert [grid.title for grid in columns.grids] == [
        "Most relevance outside the lungs (2 of 9)",
        "Wrong predictions, the most certain first (1 of 1)",
    ]
    assert columns.grids[0].pictures[0].caption.endswith("outside · flips to b")
    assert "10 of 30 images have a map (heatmap.limit is 12 images of a set" in columns.note
    assert "2 images (lung mask is suspect)" in columns.note
    assert columns.sources == list(FILES)
    assert "highest probability of the predicted class" in said(section)


def test_each_run_has_its_own_and_a_run_without_says_why() -> None:
    picks = [Pick("Set test", "least", [relevance_map("f")], 4, FILES)]
    two = run("two", missing={"heatmap": "isnet heatmap RUN"})
    section = build_images_section([run("one"), two], [ChosenImages(picks), ChosenImages()])
    (columns,) = only(section, Columns)
    assert columns.title == "one, Set test"
    assert columns.sources[0] == f"one/{FILES[0]}"
    assert only(section, Notice)[0].text == "No images to show for two: isnet heatmap RUN"


def test_several_labels_have_another_meaning_of_certain() -> None:
    settings = {"data": {"labels": {"task": "multilabel"}}}
    picks = [Pick("Set test", "right", [relevance_map("f", "tb=1")], 4)]
    section = build_images_section([run(settings=settings)], [ChosenImages(picks)])
    assert "as its least certain one" in said(section)
