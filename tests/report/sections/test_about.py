"""First and last sections: the models, the main results, the limits."""

from isnet_cli.report.blocks import Notice, Table
from isnet_cli.report.sections.about import build_about_section, build_limits_section
from tests.report.sections.factory import biased, only, run, said, scored


def test_each_run_has_its_line_with_method_and_bias() -> None:
    shapes = {"bias": {"kind": "shapes", "train": True}}
    clean = {"bias": {"kind": "shapes", "train": False}, "train": {"method": "standard"}}
    runs = [run("one", settings=shapes), run("two", settings=clean), run("three")]
    models = only(build_about_section(runs), Table)[0]
    assert models.rows == [
        ("one", "isnet", "small", "64 x 64", "shapes in training and test", "3"),
        ("two", "standard", "small", "64 x 64", "shapes in test", "3"),
        ("three", "isnet", "small", "64 x 64", "none", "3"),
    ]
    assert len(models.notes) == 2


def test_main_results_stand_side_by_side() -> None:
    runs = [biased("isnet", [0.8, 0.81, 0.79], 0.1), biased("standard", [1.0, 0.7, 0.0], 0.75)]
    section = build_about_section(runs)
    table = only(section, Table)[1]
    assert table.columns[:3] == ("test set", "version", "run")
    share = "10.0\N{NO-BREAK SPACE}%"
    assert table.rows[4] == ("test", "deceiving", "isnet", "0.790", "0.790", share)
    assert table.rows[5][2:5] == ("standard", "0.000", "0.000")
    assert "largest difference is 0.020" in said(section)
    assert "largest difference is 1.000" in said(section)


def test_without_versions_no_sentence_about_marks() -> None:
    section = build_about_section([run(sets={"test": {"standard": scored(0.8, None)}})])
    assert "marks" not in said(section)
    assert only(section, Table)[1].rows == [("test", "0.800", "n/a", "n/a")]


def test_a_run_without_evaluation_says_so() -> None:
    (notice,) = only(build_about_section([run()]), Notice)
    assert notice.tone == "empty"


def test_limits_come_with_a_warning() -> None:
    section = build_limits_section()
    assert "not validated for clinical use" in only(section, Notice)[0].text
    assert "burned into the image" in said(section)
