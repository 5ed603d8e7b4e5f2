"""Runs are compared on what they share; everything else is left out with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isnet_cli.errors import IsnetError
from isnet_cli.report.compare.common_tests import CommonTests, check_runs, find_common_tests
from isnet_cli.report.results import RunResults
from tests.report.compare.factory import compared_run, images, read

SETS = {"test": images(12), "other": images(8, head="g")}
SHAPES = {"bias": {"kind": "shapes"}}


def pair(tmp_path: Path, **second: Any) -> list[RunResults]:
    """Two runs on `SETS`; the second with other options."""
    first = read(compared_run(tmp_path / "a", SETS))
    return [first, read(compared_run(tmp_path / "b", **{"sets": SETS, "noise": 1, **second}))]


def list_reasons(found: CommonTests) -> list[tuple[tuple[str, str], str, str]]:
    return [(one.test, one.kind, one.why) for one in found.left_out]


def test_the_same_images_in_any_order(tmp_path: Path) -> None:
    runs = pair(tmp_path, sets={name: dict(reversed(own.items())) for name, own in SETS.items()})
    found = find_common_tests(runs)
    assert list(found.tables) == [("test", "standard"), ("other", "standard")]
    assert found.left_out == []
    first, second = found.tables["test", "standard"]
    assert list(first.labels) == list(reversed(second.labels))


def test_sets_that_a_run_lacks_are_left_out(tmp_path: Path) -> None:
    found = find_common_tests(pair(tmp_path, sets={"test": SETS["test"]}))
    assert list(found.tables) == [("test", "standard")]
    assert list_reasons(found) == [(("other", "standard"), "absent", "not evaluated by b")]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (images(9, head="g"), "the images of b and a differ: 'g/08' in one of them only"),
        ({**images(8, head="g"), "g/00": "tb"}, "the labels of b and a differ: of 'g/00'"),
        ({**images(8, head="g"), "g/01": ""}, "the labels of b and a differ: of 'g/01'"),
    ],
)
def test_other_images_or_labels_are_left_out(
    tmp_path: Path, changed: dict[str, str], words: str
) -> None:
    found = find_common_tests(pair(tmp_path, sets={**SETS, "other": changed}))
    assert list_reasons(found) == [(("other", "standard"), "differs", words)]


def test_other_files_behind_the_same_names_are_left_out(tmp_path: Path) -> None:
    runs = pair(tmp_path, content=lambda key: "other" if key.startswith("g") else key)
    ((test, kind, why),) = list_reasons(find_common_tests(runs))
    assert (test, kind) == (("other", "standard"), "differs")
    assert why == (
        "the images of b and a differ: not the same file behind 'g/00', 'g/01', 'g/02' and 5 more"
    )


def test_marks_that_look_otherwise_are_left_out(tmp_path: Path) -> None:
    versions = ("biased", "standard")
    runs = [
        read(compared_run(tmp_path / "a", {"test": images(6)}, versions=versions, **SHAPES)),
        read(
            compared_run(
                tmp_path / "b", {"test": images(6)}, versions=versions,
                bias={"kind": "shapes", "size": 0.3},
            )
        ),
    ]  # fmt: skip
    found = find_common_tests(runs)
    assert list(found.tables) == [("test", "standard")]
    assert [one.kind for one in found.left_out] == ["differs"]
    assert "synthetic marks" in found.left_out[0].why
    trained = compared_run(
        tmp_path / "c", {"test": images(6)}, versions=versions,
        bias={"kind": "shapes", "train": False}, seed=3,
    )  # fmt: skip
    assert find_common_tests([runs[0], read(trained)]).left_out == []


def test_nothing_in_common_is_an_error_with_all_reasons(tmp_path: Path) -> None:
    runs = pair(tmp_path, sets={"test": images(12, head="x"), "third": images(4)})
    with pytest.raises(IsnetError, match="no test that all runs have in common") as caught:
        find_common_tests(runs)
    assert caught.value.kind == "data"
    assert [line.split(":")[0] for line in caught.value.details] == [
        "test / standard", "other / standard", "third / standard",
    ]  # fmt: skip
    assert "upstream" in caught.value.fix


@pytest.mark.parametrize("classes", [("normal", "tb", "covid"), ("normal", "covid")])
def test_other_classes_are_an_error(tmp_path: Path, classes: tuple[str, ...]) -> None:
    sets = {"test": images(12, classes)}
    runs = [
        read(compared_run(tmp_path / "a")),
        read(compared_run(tmp_path / "b", sets, classes=classes)),
    ]
    with pytest.raises(IsnetError, match="b: multiclass with the classes normal, ") as caught:
        check_runs(runs)
    assert caught.value.kind == "data"
    assert "isnet report" in caught.value.fix


def test_other_tasks_are_an_error_and_other_orders_are_not(tmp_path: Path) -> None:
    first = read(compared_run(tmp_path / "a"))
    sets = {"test": {f"f/{i}": f"normal={i % 2};tb=1" for i in range(6)}}
    several: Any = {"data": {"labels": {"task": "multilabel"}}, "train": {"method": "standard"}}
    with pytest.raises(IsnetError, match="multilabel"):
        check_runs([first, read(compared_run(tmp_path / "b", sets, **several))])
    check_runs([first, read(compared_run(tmp_path / "c", classes=("tb", "normal")))])
