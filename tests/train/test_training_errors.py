"""What a training cannot learn from, or does not survive, is a typed error at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isnet_cli.config.load import load
from isnet_cli.core.pipeline import open_run, run_pipeline
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.runtime import explain_limits
from isnet_cli.dataset.image_dataset import ImageDataset
from isnet_cli.dataset.records import KeptRecords
from isnet_cli.dataset.training_images import check_classes, check_masks
from isnet_cli.errors import IsnetError
from isnet_cli.train.setup import check_size
from tests.support.datasets import make_dataset
from tests.support.trained import SETTINGS, TrainedRun, write_config


def train(run: TrainedRun, place: Path, **sections: Any) -> None:
    sections = {name: dict(value) for name, value in sections.items()}
    sections["train"] = {**SETTINGS["train"], "method": "standard", **sections.get("train", {})}
    place.mkdir(exist_ok=True)
    config = load(write_config(place, run.inputs, upstream=str(run.path), **sections))
    run_pipeline(config, open_run(place / "run", config), RunContext(), ("train",))


@pytest.mark.parametrize("method", ["standard", pytest.param("isnet", marks=pytest.mark.slow)])
def test_a_learning_rate_of_a_million_is_noticed_while_training(
    isnet_run: TrainedRun, tmp_path: Path, method: str
) -> None:
    settings = {"isnet": {"relevance_range": [1.0, 25.0]}} if method == "isnet" else {}
    rate = {"name": "sgd", "lr": 1e6}
    with pytest.raises(IsnetError, match="diverged in epoch") as caught:
        train(
            isnet_run, tmp_path,
            train={"method": method, "optimizer": rate, "settings": settings, "clip_norm": 0.0},
        )  # fmt: skip
    assert (caught.value.kind, "lr" in caught.value.fix) == ("weights", True)
    assert not (tmp_path / "run/train/model.json").exists()


def test_batches_of_one_image_are_refused_before_training(
    isnet_run: TrainedRun, tmp_path: Path
) -> None:
    with pytest.raises(IsnetError, match="BatchNorm one value per channel") as caught:
        train(isnet_run, tmp_path, train={"batch_size": 1})
    assert caught.value.exit_code == 3


def test_one_value_per_channel_and_too_little_memory_are_explained() -> None:
    with pytest.raises(IsnetError, match="BatchNorm a single value") as caught, explain_limits(4):
        torch.nn.BatchNorm1d(3)(torch.ones(1, 3))
    assert caught.value.kind == "config"
    for error in (MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("not enough memory")):
        with pytest.raises(IsnetError, match="memory of the device") as caught, explain_limits(8):
            raise error
        assert (caught.value.kind, "batch_size=4" in caught.value.fix) == ("machine", True)
    with pytest.raises(RuntimeError, match="other"), explain_limits(8):
        raise RuntimeError("other")


def config_of(arch: str, size: Any, method: str = "standard") -> Any:
    pairs = [f"model.arch={arch}", f"model.input={size}", f"train.method={method}"]
    return load(None, pairs)


@pytest.mark.parametrize(
    ("arch", "size", "fix"),
    [
        ("vit_b_16", 72, "--set model.input=224"),
        ("maxvit_t", 64, "--set model.input=224"),
        ("inception_v3", 64, "--set model.input=224"),
        ("vit_b_32", "[64, 96]", "--set model.input=224"),
    ],
)
def test_a_size_that_a_network_does_not_take_is_a_fault_of_the_configuration(
    arch: str, size: Any, fix: str
) -> None:
    with pytest.raises(IsnetError, match=f"{arch} does not take images of") as caught:
        check_size(config_of(arch, size))
    assert (caught.value.exit_code, caught.value.fix) == (3, fix)
    assert caught.value.message.startswith("model.input: ")


@pytest.mark.parametrize(("arch", "size"), [("vit_b_16", 64), ("maxvit_t", 224), ("small", 33)])
def test_networks_are_made_for_the_size_that_is_asked_for(arch: str, size: int) -> None:
    check_size(config_of(arch, size))


def test_an_unknown_network_is_not_a_fault_of_the_size() -> None:
    with pytest.raises(IsnetError, match=r"model\.arch: architecture 'resnet19': unknown"):
        check_size(config_of("resnet19", 224))


@pytest.mark.parametrize("weights", ["[-1, 1]", "[0, 1]", "[.nan, 1]", "[.inf, 1]"])
def test_weights_of_classes_are_positive(weights: str) -> None:
    with pytest.raises(IsnetError) as caught:
        load(None, [f"train.class_weights={weights}"])
    assert "class_weights" in caught.value.render()


def keep_masks(dataset: ImageDataset, value: bool) -> KeptRecords:
    form = dataset.records.form
    shape = (len(dataset), form.height, form.width)
    return KeptRecords(form, form.make(np.zeros(shape, np.uint16), np.full(shape, value)))


def test_masks_that_say_nothing_are_refused(tmp_path: Path) -> None:
    dataset, _ = make_dataset(tmp_path)
    check_masks(dataset)
    for value in (False, True):
        with pytest.raises(IsnetError, match="masks of all 9 images are empty or full"):
            check_masks(replace(dataset, records=keep_masks(dataset, value)))


def test_findings_with_one_answer_alone_cannot_be_learnt(tmp_path: Path) -> None:
    dataset, _ = make_dataset(tmp_path)
    labels = np.zeros((9, 2), np.float32)
    labels[3, 0] = np.nan
    with pytest.raises(IsnetError, match="the same answer for every image"):
        check_classes(replace(dataset, labels=labels), dataset, RunContext())
    labels[4, 0] = 1
    check_classes(replace(dataset, labels=labels), dataset, RunContext())
