"""Verdicts on invented images whose answer is known: marks, exposures, copies."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isnet_cli.check.features import ImageFeatures, extract_features, list_run_images
from isnet_cli.check.verdicts import (
    ask_probes,
    describe_features,
    format_interval,
    judge_near_duplicates,
    judge_probes,
)
from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.images.kept import load_image, save_image
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from tests.evaluate.factory import edit_rows
from tests.support.runs import lungs, make_run, small_config

Paint = Callable[[Row, np.ndarray, np.random.Generator], None]


def extract_all(
    folder: Path, paint: Paint | None = None, count: int = 80, **sets: int
) -> list[ImageFeatures]:
    """Looks at a run of noise; two hospitals and two classes in all combinations."""
    run = make_run(folder, sets=sets or {"train": count})
    edit_rows(run, lambda row: {"source": "AB"[int(row.patient, 16) // 2 % 2]})
    for row in read_manifest(run.path / "ingest" / "manifest.csv"):
        rng = np.random.default_rng(int(row.patient, 16))
        pixels = rng.uniform(0.3, 0.7, (row.height, row.width)).astype(np.float32)
        if paint is not None:
            paint(row, pixels, rng)
        save_image(run.path / "ingest" / row.image_file, np.clip(pixels, 0, 1))
    return extract_features(list_run_images(run, small_config()), small_config(), RunContext())


def mark_classes(row: Row, pixels: np.ndarray, rng: np.random.Generator) -> None:
    """A white corner on images of one class."""
    if row.label == "sick":
        pixels[:6, :6] = 1.0


def expose_hospitals(row: Row, pixels: np.ndarray, rng: np.random.Generator) -> None:
    """Brighter lungs in one hospital."""
    if row.source == "B":
        pixels[lungs(row.height)] += 0.2


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> list[ImageFeatures]:
    """Eighty images, of which those of one class have a mark outside the lungs."""
    return extract_all(tmp_path_factory.mktemp("marked"), mark_classes)


@pytest.fixture(scope="module")
def answers(marked: list[ImageFeatures]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """What the probes make of the marked images."""
    return ask(marked)


def ask(
    images: list[ImageFeatures], **sections: Any
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    settings = small_config(**sections)
    found = ask_probes(images, settings)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found, judge_probes(found, settings)


def test_a_mark_per_class_is_told_by_the_background_alone(answers) -> None:
    found, judged = answers
    assert found["class"]["background"]["auc"] > 0.99
    assert found["class"]["background"]["within"]["auc"] > 0.99
    assert found["class"]["lungs"]["auc"] == pytest.approx(0.5, abs=0.2)
    assert found["source"]["lungs"]["low"] < 0.5
    assert [v["tells"] for v in judged] == ["yes", "no"]
    assert judged[0]["text"].startswith("the background alone tells the class (AUC 1.00 [")
    assert judged[0]["text"].endswith("]): train with isnet")
    assert judged[1]["text"].startswith("the lungs alone do not tell the source (AUC 0.")


def test_an_exposure_per_hospital_is_told_by_the_lungs_alone(tmp_path: Path) -> None:
    images = extract_all(tmp_path, expose_hospitals)
    found, judged = ask(images)
    assert found["source"]["lungs"]["auc"] > 0.99
    assert found["source"]["background"]["auc"] == pytest.approx(0.5, abs=0.2)
    assert [v["tells"] for v in judged] == ["no", "yes"]
    text = judged[1]["text"]
    assert text.startswith("the lungs alone tell the source (AUC 1.00 [")
    assert text.endswith(
        "background methods cannot remove that; standardise the lungs and check again:"
        " --set model.standardise=bands"
    )
    for how, words in (("lungs", "model.standardise=bands"), ("bands", "train.augment.spectrum")):
        again = judge_probes(found, small_config(model={"standardise": how}))
        assert words in again[1]["text"]


def test_without_signal_nothing_is_told(tmp_path: Path) -> None:
    found, judged = ask(extract_all(tmp_path))
    for about in ("class", "source"):
        for view in ("background", "lungs"):
            assert found[about][view]["auc"] == pytest.approx(0.5, abs=0.2)
    assert {v["tells"] for v in judged} <= {"no", "little"}


def test_when_each_class_has_its_own_source_they_cannot_be_separated(marked) -> None:
    tied = [replace(k, row=replace(k.row, source=k.row.label)) for k in marked]
    found, judged = ask(tied)
    assert found["class"]["background"]["within"]["auc"] is None
    assert "each class has its own source" in judged[0]["text"]
    assert "-" in describe_features(together(tied, found, judged))[3]


def test_what_is_told_by_the_hospital_alone_is_said(marked) -> None:
    """The mark is the hospital's, and eight images of ten are of the hospital's own class."""
    images = []
    for n, image in enumerate(marked):
        with_mark = image.row.label == "sick"
        label = "xy"[with_mark == (n % 10 < 2)]
        row = replace(image.row, source="BA"[with_mark], label=label)
        images.append(replace(image, row=row))
    found, judged = ask(images)
    assert found["class"]["background"]["auc"] > 0.7
    assert found["class"]["background"]["within"]["low"] < 0.5
    assert "; within one source it is AUC 0." in judged[0]["text"]


def test_classes_are_asked_of_the_images_to_learn_from(marked) -> None:
    sets = ["train"] * 40 + ["val"] * 20 + ["test"] * 20
    images = [replace(k, row=replace(k.row, set=s)) for k, s in zip(marked, sets, strict=True)]
    found, _ = ask(images)
    assert found["class"]["sets"] == ["train", "val"]
    assert found["class"]["background"]["n"] == 60
    assert found["source"]["sets"] == ["train", "val", "test"]
    assert found["source"]["background"]["n"] == 80
    others = [image for image in images if image.row.set == "test"]
    assert ask(others)[0]["class"]["sets"] == ["test"]


def test_several_labels_are_asked_one_by_one(marked) -> None:
    several = []
    for n, image in enumerate(marked):
        label = f"sick={int(image.row.label == 'sick')};old={'?' if n % 3 == 0 else n // 2 % 2}"
        several.append(replace(image, row=replace(image.row, label=label)))
    found, _ = ask(several, data={"labels": {"task": "multilabel"}})
    areas = found["class"]["background"]["per_class"]
    assert set(areas) == {"sick", "old"}
    assert areas["sick"] > 0.99
    assert areas["old"] == pytest.approx(0.5, abs=0.3)


@pytest.mark.parametrize("source", ["A", ""])
def test_one_source_or_none_asks_nothing_of_it(marked, source: str) -> None:
    images = [replace(k, row=replace(k.row, source=source)) for k in marked[:40]]
    found, judged = ask(images)
    assert [v["about"] for v in judged] == ["class"]
    assert found["source"]["lungs"]["auc"] is None


def test_without_masks_the_way_to_them_is_said(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, sets={"train": 4}, verdicts={f"train/00{n}": "missing" for n in range(4)}
    )
    images = extract_features(list_run_images(run, small_config()), small_config(), RunContext())
    found, judged = ask(images)
    assert (found["images"], found["why"]) == (0, "no image has a lung mask")
    assert "isnet masks CONFIG -o RUN, then isnet check RUN" in judged[0]["text"]
    text = "\n".join(describe_features(together(images, found, judged)))
    assert "looked at 4 of 4 images: 0 near-duplicates" in text
    assert ask([])[0]["images"] == 0


def test_too_few_images_are_unknown(marked) -> None:
    found, judged = ask(marked[:12])
    assert [v["tells"] for v in judged] == ["unknown", "unknown"]
    assert "too few: normal 6, sick 6" in judged[0]["text"]
    assert format_interval(found["class"]["lungs"]) == "-"


def together(
    images: list[ImageFeatures], found: dict[str, Any], judged: list[dict[str, str]]
) -> dict[str, Any]:
    copies = {**judge_near_duplicates(images)[0], "of": len(images)}
    return {"near_duplicates": copies, "probes": found, "verdicts": judged}


def test_the_table_names_what_was_asked(marked, answers) -> None:
    lines = describe_features(together(marked, *answers))
    assert lines[1].split("  ")[1] == "AUC, 80 images"
    assert [line.split("  ")[1].strip() or line.strip().split("  ")[0] for line in lines[2:6]] == [
        "class", "within one source", "source", "within one class",
    ]  # fmt: skip
    assert lines[6].startswith("verdict: the background alone tells the class")


def run_with_copies(folder: Path) -> tuple[RunFolder, Config]:
    """XRay test/000 is train/000 at half the size; val/001 is test/001 with another label."""
    run = make_run(folder, sets={"train": 6, "val": 4, "test": 4})
    rows = {r.key: r for r in read_manifest(run.path / "ingest" / "manifest.csv")}
    for row in rows.values():
        rng = np.random.default_rng(int(row.patient, 16))
        save_image(run.path / "ingest" / row.image_file, rng.random((96, 96)).astype(np.float32))
    for copy, origin in (
        ("test/000", "train/000"),
        ("val/001", "test/001"),
        ("train/003", "train/002"),
    ):
        pixels = load_image(run.path / "ingest" / rows[origin].image_file)
        save_image(run.path / "ingest" / rows[copy].image_file, 0.1 + 0.8 * pixels)
    edit_rows(run, lambda row: {"label": "normal"} if row.key in {"val/001", "train/003"} else {})
    return run, small_config()


def test_near_duplicates_across_sets_and_labels(tmp_path: Path) -> None:
    run, settings = run_with_copies(tmp_path)
    facts, problems = judge_near_duplicates(
        extract_features(list_run_images(run, settings), settings, RunContext())
    )
    assert facts == {
        "images": 14, "across_sets": 2, "within_sets": 1, "different_labels": 1,
        "examples": ["train/000 (train) and test/000 (test)", "val/001 (val) and test/001 (test)"],
    }  # fmt: skip
    across, labels = problems
    assert across.severity == labels.severity == "warning"
    assert "2 pairs of images in different sets (test, train, val) look the same" in across.text
    assert labels.text.startswith("data.labels: 1 pair of images look the same")
    assert labels.details == ("val/001 (val) and test/001 (test)",)
    assert across.fix
    assert labels.fix


def test_no_copies_no_problems(tmp_path: Path) -> None:
    facts, problems = judge_near_duplicates(extract_all(tmp_path, count=10))
    assert (facts["across_sets"], facts["within_sets"], problems) == (0, 0, [])
    assert judge_near_duplicates([])[0]["images"] == 0


def test_answers_do_not_depend_on_the_pseudonyms_of_patients(
    marked: list[ImageFeatures], answers: tuple[dict[str, Any], list[dict[str, str]]]
) -> None:
    """Each run has a salt of its own, so its pseudonyms sort in another order."""
    other = [
        replace(image, row=replace(image.row, patient=f"{2**40 - int(image.row.patient, 16):012x}"))
        for image in marked
    ]
    assert ask(other) == answers
