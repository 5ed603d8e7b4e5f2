"""Images are left out for a reason that is counted; sets without images or classes are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.image_dataset import ImageDataset, load_dataset
from isnet_cli.dataset.training_images import check_classes, choose_images, read_verdicts
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from tests.support.runs import make_run, small_config


def test_suspect_masks_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", verdicts={"train/000": "suspect", "train/001": "missing"})
    rows, qc = read_manifest(folder.stage_dir("ingest") / "manifest.csv"), read_verdicts(folder)
    train, val, left_out = choose_images(rows, qc, small_config(), True)
    assert left_out == {"suspect mask": 1, "no mask": 1}
    assert (len(train), len(val)) == (10, 6)
    train, _, left_out = choose_images(rows, qc, small_config(), False)
    assert left_out == {"suspect mask": 1}
    kept = small_config(masks={"on_suspect": "keep"})
    assert len(choose_images(rows, qc, kept, False)[0]) == 12


def test_images_without_label_are_left_out_and_an_empty_set_is_refused() -> None:
    rows = [Row("a", set="train", label="x"), Row("b", set="train"), Row("c", set="test")]
    with pytest.raises(IsnetError, match=r"set 'val': no image to use \(1 with no label\)"):
        choose_images(rows, {}, small_config(), False)


def test_a_class_that_training_or_the_names_lack_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", sets={"train": 2, "val": 2})
    rows, qc = read_manifest(folder.stage_dir("ingest") / "manifest.csv"), read_verdicts(folder)

    def load(some: list[Row], *classes: str) -> ImageDataset:
        return load_dataset(some, folder, qc, classes, small_config(), RunContext())

    warned: list[str] = []
    context = RunContext(warn=lambda category, text: warned.append(text))
    train, val = rows[:2], rows[2:]
    check_classes(load(train, "normal", "sick"), load(val[:1], "normal", "sick"), context)
    assert warned == ["set 'val': no image of class sick"]
    for classes, words in (
        (("normal",), "sick is not among"),
        (("normal", "sick", "x"), "class x"),
    ):
        with pytest.raises(IsnetError, match=words):
            check_classes(load(train, *classes), load(val, *classes), context)
    with pytest.raises(IsnetError, match="one class only"):
        check_classes(load(train[:1], "normal"), load(val[:1], "normal"), context)
