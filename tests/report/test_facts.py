"""Facts: what is looked up, what is missing without harm, in which order tests come."""

from isnet_cli.report.facts import (
    Cohort,
    RunFacts,
    all_tests,
    cells_of_tests,
    figure_of,
    heads_of_tests,
    names_of_tests,
    percent,
    versioned,
)


def run(**versions: list[str]) -> RunFacts:
    sets = {name: {v: {"macro": {"f1": 0.5}} for v in names} for name, names in versions.items()}
    return RunFacts("r", metrics={"sets": sets})


def test_tests_come_set_by_set_and_in_the_order_of_versions() -> None:
    runs = [run(b=["deceiving", "biased", "standard"]), run(a=["standard"], b=["standard"])]
    assert all_tests(runs) == [
        ("b", "biased"),
        ("b", "standard"),
        ("b", "deceiving"),
        ("a", "standard"),
    ]


def test_names_of_tests_tell_versions_only_where_there_are_some() -> None:
    several, single = [("a", "biased"), ("a", "standard")], [("a", "standard"), ("b", "standard")]
    assert versioned(several)
    assert not versioned(single)
    assert names_of_tests(several) == ["a · biased", "a · standard"]
    assert names_of_tests(single) == ["a", "b"]
    assert cells_of_tests(single) == [("a",), ("b",)]
    assert len(heads_of_tests(several)) == len(cells_of_tests(several)[0]) == 2


def test_missing_scores_are_none() -> None:
    found = run(a=["standard"])
    assert found.macro(("a", "standard"), "f1") == 0.5
    assert found.macro(("a", "standard"), "auc") is None
    assert found.macro(("x", "standard"), "f1") is None
    assert found.outside(("a", "standard")) is None


def test_settings_by_dotted_name() -> None:
    found = RunFacts("r", config={"train": {"method": "isnet", "seed": None}})
    assert found.setting("train.method") == "isnet"
    assert found.setting("train.seed") == "unknown"
    assert found.setting("train.method.more") == "unknown"


def test_the_evaluated_model_counts_before_the_trained_and_the_configured() -> None:
    config = {"train": {"method": "isnet"}, "model": {"arch": "small", "input": [9, 9]}, "seed": 3}
    assert RunFacts("r", config=config).model["method"] == "isnet"
    card = {"method": "standard", "arch": "vgg19"}
    assert RunFacts("r", config=config, card=card).model["arch"] == "vgg19"
    other = RunFacts("r", config=config, card=card, metrics={"model": {"arch": "resnet18"}})
    assert other.model["arch"] == "resnet18"
    assert other.model["seed"] == "3"


def test_area_outside_is_over_sound_masks() -> None:
    qc = [
        {"area": "0.2", "verdict": "ok"},
        {"area": "0.4", "verdict": "ok"},
        {"area": "0.9", "verdict": "suspect"},
        {"area": "", "verdict": "missing"},
    ]
    area = Cohort("c", ["r"], qc=qc).outside_area
    assert area is not None
    assert abs(area - 0.7) < 1e-12
    assert Cohort("c", ["r"]).outside_area is None


def test_figures_as_words() -> None:
    assert figure_of(0.12345) == "0.123"
    assert figure_of(None) == percent(None) == "n/a"
    assert percent(0.0512) == "5.1\N{NO-BREAK SPACE}%"
