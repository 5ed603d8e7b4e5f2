"""Which epoch is kept, when training stops early, and what a checkpoint belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.inference.model_files import load_model
from isnet_cli.train import stage as train
from isnet_cli.train.trainer import SELECT
from isnet_models.methods.standard import Standard
from tests.support.runs import make_run, small_config


@pytest.mark.parametrize("select", SELECT)
def test_the_best_epoch_is_kept(tmp_path: Path, select: str) -> None:
    folder = make_run(tmp_path / "run")
    config = small_config(train={"select": select, "epochs": 5, "method": "standard"})
    summary = run_stage(train, config, folder, RunContext()).summary
    history = read_csv(folder.path / "train" / "history.csv")
    name, sign = SELECT[select]
    values = [sign * float(row[name]) for row in history]
    first_best = values.index(max(values)) + 1
    assert summary["best_epoch"] == first_best
    assert load_model(folder.path, torch.device("cpu")).card["epoch"] == first_best


def test_each_epoch_begins_with_its_own_chance_and_ends_with_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws: list[float] = []

    def begin_epoch(self: Standard, epoch: int, stream: torch.Generator) -> None:
        draws.append(torch.rand(1, generator=stream).item())

    monkeypatch.setattr(Standard, "begin_epoch", begin_epoch)
    monkeypatch.setattr(Standard, "figures", lambda self, epoch: {"twice": 2.0 * epoch})
    config = small_config(train={"epochs": 3, "method": "standard"})
    for name in ("one", "two"):
        run_stage(train, config, make_run(tmp_path / name), RunContext())
    history = read_csv(tmp_path / "two" / "train" / "history.csv")
    assert [float(row["twice"]) for row in history] == [0, 2, 4]
    assert draws[:3] == draws[3:]
    assert len(set(draws)) == 3


def test_early_stopping_ends_after_patience(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    config = small_config(
        train={"epochs": 30, "method": "standard", "early_stop": {"patience": 2},
               "optimizer": {"name": "sgd", "lr": 1e-12}, "select": "auc"},
    )  # fmt: skip
    summary = run_stage(train, config, folder, RunContext()).summary
    assert summary["epoch"] - summary["best_epoch"] == 3
    assert summary["epoch"] < 30
