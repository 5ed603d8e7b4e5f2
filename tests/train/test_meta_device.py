"""Training steps and validation on the meta device, whose values cannot be read: nothing waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from isnet_cli.core.parallel.step_figures import StepFigures
from isnet_cli.train.classifier_training import ClassifierTraining
from isnet_cli.train.setup import build_method, build_net
from isnet_cli.train.validation import Validator
from tests.support.datasets import make_dataset

META = torch.device("meta")


class NoBlockingCopy(TorchFunctionMode):
    """Refuses copies from the host for which it would wait until a GPU has caught up."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func in (torch.tensor, torch.as_tensor):
            assert torch.device(given.get("device") or "cpu") != META, (
                "made on the host, and copied"
            )
        out = func(*args, **given)
        if func is Tensor.to and not args[0].is_meta and out.is_meta:
            assert given.get("non_blocking"), "a copy that waits"
        return out


def test_copies_that_wait_are_seen() -> None:
    with NoBlockingCopy():
        assert torch.zeros(2).to(META, non_blocking=True).is_meta
        with pytest.raises(AssertionError, match="a copy that waits"):
            torch.zeros(2).to(META)
        with pytest.raises(AssertionError, match="made on the host"):
            torch.tensor([1.0], device="meta")


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
    with NoBlockingCopy():
        for step in range(training.settings.steps):
            training.train_step(training.make_batch(0, step), 0, step, figures)
        losses, logits, swapped = validator.collect(net, chosen, 0)
    training.end_epoch()
    assert logits.shape == (9, 2)
    assert swapped is not None
    for value in (*losses.values(), logits, swapped):
        assert value.device == META
