"""Maps: one run's images side by side; several runs' maps of the same image in one card."""

from isnet_cli.report.document import Gallery, Grid, Notice
from isnet_cli.report.sections.maps import maps_section
from tests.report.sections.factory import only, relevance_map, run, said


def test_one_run_shows_its_images_with_all_words() -> None:
    maps = [relevance_map("f1", "b"), relevance_map("f2", target="b")]
    section = maps_section([run(maps=maps)], "Smoothed.")
    (grid,) = only(section, Grid)
    first, second = grid.pictures
    assert first.head == "f1"
    assert first.caption == "label b · predicted a (0.75) · 12.5\N{NO-BREAK SPACE}% outside"
    assert "map of b (0.75)" in second.caption
    assert first.photo
    assert "f1" in first.alt
    assert "outline of the lungs. Smoothed." in said(section)


def test_several_runs_share_a_card_for_each_image() -> None:
    one = run("one", maps=[relevance_map("f1"), relevance_map("f2")])
    two = run("two", maps=[relevance_map("f2", outside=None)])
    (gallery,) = only(maps_section([one, two]), Gallery)
    assert gallery.columns == 2
    assert [row.title for row in gallery.rows] == ["f1 · label a", "f2 · label a"]
    assert [cell is None for cell in gallery.rows[0].cells] == [False, True]
    left, right = gallery.rows[1].cells
    assert (left.head, right.head) == ("one", "two")
    assert "outside" not in right.caption


def test_labels_of_a_multilabel_task_are_the_positive_ones() -> None:
    config = {"data": {"labels": {"task": "multilabel"}}}
    section = maps_section([run(config=config, maps=[relevance_map("f", "tb=1;old=0;x=?")])])
    assert only(section, Grid)[0].pictures[0].caption.startswith("label tb ·")


def test_sets_have_headings_when_there_are_several() -> None:
    maps = [relevance_map("f1"), relevance_map("f2", group="Set other")]
    assert [g.title for g in only(maps_section([run(maps=maps)]), Grid)] == [
        "Set test",
        "Set other",
    ]
    assert only(maps_section([run(maps=maps[:1])]), Grid)[0].title == ""


def test_a_run_without_maps_is_named() -> None:
    section = maps_section([run("one", missing={"heatmap": "isnet heatmap RUN"})])
    assert only(section, Notice)[0].text.endswith("one: isnet heatmap RUN")
    assert len(section.blocks) == 1
