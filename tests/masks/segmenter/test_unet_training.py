"""The training loop of the lung U-Net: rates, averages, and exact continuation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.config.segmenter import Segmenter, UNet
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.masks.segmenter.examples import Example, read_examples, split_by_patient
from isnet_cli.masks.segmenter.pairs import find_pairs
from isnet_cli.masks.segmenter.run import network
from isnet_cli.masks.segmenter.unet_training import (
    UNetTraining,
    as_tensors,
    move_average,
    scheduled_rate,
)
from isnet_models.lung_unet import LungUNet
from isnet_models.registry import find_card
from tests.masks.segmenter.factory import SMALL, settings, write_pairs

Images = list[Example]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    root = tmp_path_factory.mktemp("images")
    data = settings(write_pairs(root)).data
    return split_by_patient(read_examples(find_pairs(data), data, RunContext())[0], data, 3)


def trainer(config: Segmenter, images: Images, folder: Path, identity: str = "x") -> UNetTraining:
    return UNetTraining(config, network(config, None), images, folder, identity)


def test_a_stopped_training_continues_bit_for_bit(images: Images, tmp_path: Path) -> None:
    coarse = {"size": 64, "share": 0.5}
    config = settings(None, train={"epochs": 2, "batch_size": 2, "coarse": coarse})
    whole = trainer(config, images, tmp_path / "whole")
    assert whole.run(RunContext())
    looks = []

    def stop_in_the_second_epoch() -> bool:
        looks.append(1)
        return len(looks) > whole.settings.steps + 1

    cut = trainer(config, images, tmp_path / "cut")
    assert not cut.run(RunContext(stop_requested=stop_in_the_second_epoch))
    assert cut.progress.epoch == 1
    torch.rand(7)  # chance of others must not matter
    rest = trainer(config, images, tmp_path / "cut")
    assert rest.restore()
    assert rest.run(RunContext())
    for a, b in ((whole.average, rest.average), (whole.unet, rest.unet)):
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name
    assert whole.best.keys() == rest.best.keys()
    assert all(torch.equal(value, rest.best[name]) for name, value in whole.best.items())
    clocks = ("seconds", "images_per_second")
    histories = [
        [{k: v for k, v in row.items() if k not in clocks} for row in t.progress.history]
        for t in (whole, rest)
    ]
    assert histories[0] == histories[1]
    expected = 1 + int(np.argmax([row["val_dice"] for row in histories[0]]))
    assert whole.best_epoch == rest.best_epoch == expected


def test_another_training_is_not_continued(images: Images, tmp_path: Path) -> None:
    config = settings(None, train={"epochs": 1})
    first = trainer(config, images, tmp_path)
    assert not first.restore()
    first.run(RunContext())
    assert not trainer(config, images, tmp_path, "y").restore()
    first.path.write_bytes(b"torn")
    with pytest.raises(IsnetError, match="not a readable checkpoint"):
        trainer(config, images, tmp_path).restore()


@pytest.mark.slow
def test_trained_weights_are_not_forgotten(images: Images, tmp_path: Path) -> None:
    config = settings(None, train={"epochs": 1, "optimizer": {"lr": 1e-5}})
    config = config.model_copy(update={"model": UNet(weights="lung-unet")})
    net = network(config, find_card("lung-unet"))
    found = UNetTraining(config, net, images, tmp_path, "x")
    found.begin_epoch(0)
    sizes = {tuple(t.shape[2:]) for t in found.make_batch(0, 0)}
    assert sizes == {(256, 256)}  # however small images are in the first epochs of others
    before = found.validate(0)["val_dice"]
    assert found.run(RunContext())
    assert before > 0.9
    assert found.progress.history[-1]["val_dice"] == pytest.approx(before, abs=0.01)


def test_without_validation_the_last_epoch_is_kept(images: Images, tmp_path: Path) -> None:
    training = [e for e in images if e.part == "train"]
    found = trainer(settings(None), training, tmp_path)
    assert found.run(RunContext())
    assert found.best_epoch == 2
    assert "val_dice" not in found.progress.history[0]
    last = found.average.state_dict()
    assert all(torch.equal(value, last[name]) for name, value in found.best.items())


def test_a_few_steps_lower_the_loss_on_the_images(images: Images, tmp_path: Path) -> None:
    config = settings(None, train={"epochs": 6, "optimizer": {"lr": 0.02}, "augment": False})
    found = trainer(config, [e for e in images if e.part == "train"], tmp_path)
    found.run(RunContext())
    losses = [row["train_loss"] for row in found.progress.history]
    assert losses[-1] < 0.7 * losses[0]


def test_a_loss_without_value_ends_the_training(images: Images, tmp_path: Path) -> None:
    found = trainer(settings(None), images, tmp_path)
    with torch.no_grad():
        next(found.unet.parameters()).fill_(math.nan)
    with pytest.raises(IsnetError, match="diverged") as caught:
        found.run(RunContext())
    assert caught.value.kind == "weights"


def test_the_rate_by_hand() -> None:
    assert scheduled_rate(0.025) == pytest.approx(0.5)
    assert scheduled_rate(0.05) == pytest.approx(1)
    assert scheduled_rate(0.525) == pytest.approx(0.5)  # half way down
    assert scheduled_rate(1) == pytest.approx(0, abs=1e-12)


def test_the_average_follows_weights_and_statistics() -> None:
    net, average = LungUNet(**SMALL), LungUNet(**SMALL)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in average.state_dict().items()}
    move_average(average, net, 0.9)
    for name, value in average.state_dict().items():
        now = net.state_dict()[name]
        expected = 0.9 * before[name] + 0.1 * now if value.is_floating_point() else now
        torch.testing.assert_close(value, expected)


def test_tensors_are_images_and_shares(images: Images) -> None:
    pixels, masks = as_tensors(images[:2])
    assert pixels.shape == masks.shape == (2, 1, 256, 256)
    assert np.array_equal(pixels[1, 0].numpy(), images[1].image.astype(np.float32))
    assert float(masks.max()) == 1.0
    assert float(masks.min()) == 0.0
