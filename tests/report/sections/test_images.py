"""Images to look at: lists with their titles, how many images they come from, what has no map."""

from isnet_cli.report.document import Columns, Notice
from isnet_cli.report.facts import Cover, Pick
from isnet_cli.report.sections.images import images_section
from tests.report.sections.factory import only, relevance_map, run, said

FILES = ("heatmap/index.csv", "evaluate/test/standard/predictions.csv")


def test_lists_of_a_set_stand_together() -> None:
    images = [relevance_map("f1", note="flips to b"), relevance_map("f2")]
    picks = [Pick("Set test", "most", images, 9, FILES), Pick("Set test", "wrong", images[:1], 1)]
    cover = Cover("Set test", 30, 10, 12, [("lung mask is suspect", 2)])
    section = images_section([run("one", picks=picks, covers=[cover])])
    (columns,) = only(section, Columns)
    assert columns.title == "Set test"
    assert [grid.title for grid in columns.grids] == [
        "Most relevance outside the lungs (2 of 9)",
        "Wrong, the surest first (1 of 1)",
    ]
    assert columns.grids[0].pictures[0].caption.endswith("outside · flips to b")
    assert "10 of 30 images have a map (heatmap.limit is 12 images of a set" in columns.note
    assert "2 images (lung mask is suspect)" in columns.note
    assert columns.sources == list(FILES)
    assert "highest probability of the predicted class" in said(section)


def test_each_run_has_its_own_and_a_run_without_says_why() -> None:
    one = run("one", picks=[Pick("Set test", "least", [relevance_map("f")], 4, FILES)])
    two = run("two", missing={"heatmap": "isnet heatmap RUN"})
    section = images_section([one, two])
    (columns,) = only(section, Columns)
    assert columns.title == "one, Set test"
    assert columns.sources[0] == f"one/{FILES[0]}"
    assert only(section, Notice)[0].text == "No images to show for two: isnet heatmap RUN"


def test_several_labels_have_another_meaning_of_sure() -> None:
    config = {"data": {"labels": {"task": "multilabel"}}}
    picks = [Pick("Set test", "right", [relevance_map("f", "tb=1")], 4)]
    assert "least sure right one" in said(images_section([run(config=config, picks=picks)]))
