"""Which epoch is kept, when training stops early, and what a checkpoint belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.config.schema import Schedule
from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.inference.model_files import load_model
from isnet_cli.train import stage as train
from isnet_cli.train.classifier_training import (
    SELECT,
    order_images,
    scheduled_rate,
    split_into_batches,
    weigh_classes,
)
from isnet_models.methods.standard import Standard
from tests.support.datasets import make_dataset
from tests.support.runs import make_run, small_config


@pytest.mark.parametrize(
    "select",
    [
        "swapped",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("loss", "auc")),
    ],
)
def test_the_best_epoch_is_kept(tmp_path: Path, select: str) -> None:
    folder = make_run(tmp_path / "run")
    config = small_config(train={"select": select, "epochs": 3, "method": "standard"})
    summary = run_stage(train, config, folder, RunContext()).summary
    history = read_csv(folder.path / "train" / "history.csv")
    chosen = SELECT[select]
    assert chosen is not None
    name, sign = chosen
    values = [sign * float(row[name]) for row in history]
    first_best = values.index(max(values)) + 1
    assert summary["best_epoch"] == first_best
    assert load_model(folder.path, torch.device("cpu")).card["epoch"] == first_best


def test_the_last_epoch_is_kept_by_default(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    config = small_config(train={"epochs": 3, "method": "standard"})
    assert config.train.select == "last"
    assert run_stage(train, config, folder, RunContext()).summary["best_epoch"] == 3
    assert load_model(folder.path, torch.device("cpu")).card["epoch"] == 3


def test_each_epoch_begins_with_its_own_chance_and_ends_with_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws: list[float] = []

    def begin_epoch(self: Standard, epoch: int, stream: torch.Generator) -> None:
        draws.append(torch.rand(1, generator=stream).item())

    monkeypatch.setattr(Standard, "begin_epoch", begin_epoch)
    monkeypatch.setattr(Standard, "figures", lambda self, epoch: {"twice": 2.0 * epoch})
    config = small_config(train={"epochs": 2, "method": "standard"})
    for name in ("one", "two"):
        run_stage(train, config, make_run(tmp_path / name), RunContext())
    history = read_csv(tmp_path / "two" / "train" / "history.csv")
    assert [float(row["twice"]) for row in history] == [0, 2]
    assert draws[:2] == draws[2:]
    assert len(set(draws)) == 2


def test_early_stopping_ends_after_patience(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    config = small_config(
        train={"epochs": 30, "method": "standard", "early_stop": {"patience": 2},
               "optimizer": {"name": "sgd", "lr": 1e-12}, "select": "auc"},
    )  # fmt: skip
    summary = run_stage(train, config, folder, RunContext()).summary
    assert summary["epoch"] - summary["best_epoch"] == 3
    assert summary["epoch"] < 30


def test_schedules_by_hand() -> None:
    cosine = Schedule(name="cosine", final=0.0)
    assert scheduled_rate(1.0, cosine, 0, 10) == pytest.approx(1)
    assert scheduled_rate(1.0, cosine, 5, 10) == pytest.approx(0.5)
    assert scheduled_rate(1.0, cosine, 10, 10) == pytest.approx(0, abs=1e-12)
    step = Schedule(name="step", milestones=[3, 6], gamma=0.1)
    assert [scheduled_rate(1.0, step, p, 9) for p in (2.9, 3, 6)] == pytest.approx([1, 0.1, 0.01])
    warm = Schedule(name="constant", warmup_epochs=2)
    rates = [scheduled_rate(1.0, warm, p, 9) for p in (0, 1, 1.9, 2)]
    assert rates == sorted(rates)
    assert rates[-1] == 1


def test_order_is_a_function_of_seed_and_epoch(tmp_path: Path) -> None:
    dataset, config = make_dataset(tmp_path)
    first = order_images(config, dataset, 0)
    assert sorted(first) == list(range(9))
    assert np.array_equal(first, order_images(config, dataset, 0))
    assert not np.array_equal(first, order_images(config, dataset, 1))


def test_a_last_image_alone_joins_the_batch_before(tmp_path: Path) -> None:
    dataset, config = make_dataset(tmp_path)
    batches = split_into_batches(config, dataset, 0)
    assert [len(b) for b in batches] == [4, 5]
    assert np.array_equal(np.concatenate(batches), order_images(config, dataset, 0))


def test_balanced_sampling_and_weights(tmp_path: Path) -> None:
    dataset, config = make_dataset(
        tmp_path, train={"sampler": "balanced", "class_weights": "balanced"}
    )
    drawn = np.concatenate([order_images(config, dataset, e) for e in range(400)])
    share = dataset.labels[drawn].mean()
    assert share == pytest.approx(0.5, abs=0.03)  # 4 of 9 images are sick
    assert weigh_classes(config, dataset).tolist() == pytest.approx([9 / 10, 9 / 8])
