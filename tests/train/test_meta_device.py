"""Training steps and validation on the meta device, whose values cannot be read: nothing waits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from isnet_cli.core.parallel.step_figures import StepFigures
from isnet_cli.train.classifier_training import ClassifierTraining
from isnet_cli.train.setup import build_method, build_net
from isnet_cli.train.validation import Validator
from tests.support.datasets import make_dataset

META = torch.device("meta")


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("standard", {"clip_norm": 1.0}),
        ("isnet", {"accumulate": 2}),
        ("isnet+background_mix", {"average_epochs": 1.0}),
    ],
)
def test_steps_and_validation_ask_for_no_value(tmp_path: Path, method: str, more: dict) -> None:
    dataset, config = make_dataset(
        tmp_path, bias={"kind": "shapes"}, train={"method": method, **more},
        model={"arch": "small", "input": [32, 32]},
    )  # fmt: skip
    net = build_net(config, 2).to(META)
    chosen = build_method(config, {}, None, classes=2)
    validator = Validator(dataset, "biased", 4, META)
    training = ClassifierTraining(
        config, net, chosen, dataset, validator, "biased", tmp_path, "x", lambda net, row: None
    )
    training.begin_epoch(0)
    net.train()
    figures = StepFigures(META)
    for step in range(training.settings.steps):
        training.train_step(training.make_batch(0, step), 0, step, figures)
    training.end_epoch()
    losses, logits, swapped = validator.collect(net, chosen, 0)
    assert logits.shape == (9, 2)
    assert swapped is not None
    for value in (*losses.values(), logits, swapped):
        assert value.device == META
