from __future__ import annotations

from dataclasses import replace

import pytest

from isnet_cli.config.schema import ImageSet, Split
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.ingest.set_checks import (
    Finding,
    check_sets,
    count_classes,
    refuse_errors,
)
from isnet_cli.text.tables import format_counts


def image(key: str, where: str, label: str = "x", **values: object) -> Row:
    return Row(key=key, set=where, label=label, **values)


GOOD = [
    image("a", "train"), image("b", "train", "y"), image("c", "val"), image("d", "val", "y"),
    image("e", "test"), image("f", "test", "y"),
]  # fmt: skip


def check(rows: list[Row], sets: dict[str, ImageSet] | None = None, task: str = "multiclass",
          **split: object) -> list[Finding]:  # fmt: skip
    return check_sets(rows, sets or {}, Split(**split), task)


def test_sound_sets_have_no_findings() -> None:
    assert check(GOOD) == []
    refuse_errors([])


def test_a_patient_in_two_sets_is_an_error_with_salted_keys_and_images() -> None:
    rows = [*GOOD, image("g", "train", patient="abc123"), image("h", "test", patient="abc123")]
    (found,) = check(rows)
    assert found.severity == "error"
    assert "1 patient in more than one of the sets test, train" in found.text
    assert found.details == ("patient abc123: g (train), h (test)",)
    assert found.fix == "data.split.allow_overlap: true   if you mean it"  # the others do not help
    (single,) = check(rows, group="none")
    assert "data.split.group: patient" in single.fix
    moved = [replace(row, source=row.set) for row in rows]
    assert "data.split.ids: source" in check(moved)[0].fix
    (allowed,) = check(rows, allow_overlap=True)
    assert allowed.severity == "warning"


def test_copies_of_a_file_in_two_sets_are_an_error() -> None:
    rows = [
        *GOOD,
        image("g", "train", sha256="5" * 64),
        image("h", "outside", "y", sha256="5" * 64),
    ]
    found = [f for f in check(rows) if f.severity == "error"]
    assert len(found) == 1
    assert "same bytes" in found[0].text
    frames = [image("g", "train", sha256="5" * 64), image("h", "test", sha256="5" * 64, frame=1)]
    assert check([*GOOD, *frames]) == []


def test_many_examples_are_cut() -> None:
    rows = [
        image(f"{s}{i}", s, "xy"[i % 2], patient=f"p{i}")
        for i in range(9)
        for s in ("train", "val", "test")
    ]
    (found,) = check(rows)
    assert len(found.details) == 6
    assert found.details[-1] == "and 4 more"


@pytest.mark.parametrize("name", ["train", "val"])
def test_an_empty_training_set_is_an_error(name: str) -> None:
    rows = [row for row in GOOD if row.set != name]
    errors = [found for found in check(rows) if found.severity == "error"]
    assert [error.text.partition(":")[0] for error in errors] == [f"data.sets.{name}"]
    sets = {n: ImageSet(fraction=0.3) for n in ("train", "val", "test")}
    assert [f.severity for f in check(rows, sets)] == ["error"]


def test_an_empty_test_set_is_a_warning_and_evaluation_alone_needs_no_training_set() -> None:
    sets = {"train": ImageSet(), "val": ImageSet(), "test": ImageSet(), "far": ImageSet()}
    assert [f.severity for f in check(GOOD, sets)] == ["warning"]
    assert check([image("a", "far"), image("b", "far", "y")], {"far": ImageSet(images="x")}) == []
    assert check([Row("a"), Row("b")]) == []


def test_labels_are_asked_for_when_sets_stay_empty_without_them() -> None:
    found = check([Row("a")], {"train": ImageSet(fraction=0.5), "val": ImageSet(fraction=0.5)})
    assert {f.severity for f in found} == {"error"}
    assert found[0].fix == "give the labels: data.labels.file"


def test_a_class_that_a_set_lacks_is_a_warning() -> None:
    (found,) = check([*GOOD, image("g", "far")])
    assert (found.severity, found.text) == (
        "warning",
        "data.sets.far: no image of class 'y'; all are of class 'x'; its scores have no value for"
        " it",
    )  # fmt: skip


def test_a_class_from_one_source_only_is_a_warning_on_the_training_images() -> None:
    rows = [
        image("a", "train", "covid", source="B"), image("b", "train", "normal", source="A"),
        image("c", "train", "normal", source="B"), image("d", "val", "covid", source="A"),
        image("e", "val", "normal", source="A"), image("f", "far", "covid", source="A"),
        image("g", "far", "normal", source="A"),
    ]  # fmt: skip
    (found,) = check(rows)
    assert found.text.startswith("class 'covid' comes only from source 'B': a model can learn")
    one_hospital = [image(r.key, r.set, r.label, source="A") for r in rows]
    assert check(one_hospital) == []


def test_multilabel_findings_count_by_label() -> None:
    rows = [
        image("a", "train", "m=1;n=0", source="A"), image("b", "train", "m=0;n=1", source="B"),
        image("c", "val", "m=1;n=1", source="A"), image("d", "train", "m=0;n=0", source="B"),
    ]  # fmt: skip
    texts = [found.text for found in check(rows, task="multilabel")][1:]  # after: no test image
    assert [t.partition(" comes")[0] for t in texts] == ["class 'm'", "class 'n'"]
    assert count_classes(rows, "set", "multilabel") == {
        "train": {"m": 1, "n": 1, "no finding": 1}, "val": {"m": 1, "n": 1},
    }  # fmt: skip


def test_sets_that_cannot_be_scored_or_learnt_from_are_said() -> None:
    rows = [row for row in GOOD if row.set in {"train", "val"}]
    (empty,) = check(rows)
    assert (empty.severity, empty.text.partition(",")[0]) == ("warning", "data.sets.test: no image")
    assert "evaluate.sets: [val]" in empty.fix
    sets = {"train": ImageSet(fraction=0.5), "val": ImageSet(fraction=0.5)}
    assert [f.text for f in check(rows, sets)] == [
        "data.sets: no test image, so evaluate has nothing to score"
    ]
    alike = [row for row in GOOD if row.set != "train" or row.label == "x"]
    error = check(alike)[0]
    assert (error.severity, error.text.partition(",")[0]) == (
        "error", "data.sets.train: all 1 images are of class 'x'",
    )  # fmt: skip
    findings = [image(name, name, "m=1;n=?") for name in ("train", "val", "test")]
    assert "alike in every finding" in check(findings, task="multilabel")[0].text
    bare = check([*GOOD, Row("h", set="far")])
    assert "data.sets.far: no image has a label" in bare[0].text


def test_refusal_raises_the_first_error_and_names_the_others() -> None:
    warning = Finding("warning", "w")
    refuse_errors([warning])
    with pytest.raises(IsnetError) as caught:
        refuse_errors([warning, Finding("error", "one", "do", ("x",)), Finding("error", "two")])
    assert caught.value.render() == "error[data]: one\n  x\n  also: two\n  fix: do"


def test_tables_count_usable_labelled_images() -> None:
    rows = [
        image("a", "test", source="B"), image("b", "train", "y", source="A"),
        image("c", "train", status="skipped"), image("d", "", "y"), Row("e", set="far", source="C"),
    ]  # fmt: skip
    assert count_classes(rows, "source", "multiclass") == {
        "A": {"y": 1}, "B": {"x": 1}, "unknown": {"y": 1},
    }  # fmt: skip
    by_set = count_classes(rows, "set", "multiclass")
    assert list(by_set.items()) == [("train", {"y": 1}), ("test", {"x": 1}), ("far", {})]
    assert format_counts(by_set, "set") == [
        "set    x  y",
        "train  0  1",
        "test   1  0",
        "far    0  0",
    ]
