"""Which epoch is kept, when training stops early, and what a checkpoint belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from isnet_cli.ports import Ports
from isnet_cli.runs.files import read_csv
from isnet_cli.stages import train
from isnet_cli.stages.model_files import load_model
from isnet_cli.stages.pipeline import run_stage
from isnet_cli.stages.trainer import SELECT
from run_factory import make_run, small_config


@pytest.mark.parametrize("select", SELECT)
def test_the_best_epoch_is_kept(tmp_path: Path, select: str) -> None:
    folder = make_run(tmp_path / "run")
    config = small_config(train={"select": select, "epochs": 5, "method": "standard"})
    summary = run_stage(train, config, folder, Ports()).summary
    history = read_csv(folder.path / "train" / "history.csv")
    name, sign = SELECT[select]
    values = [sign * float(row[name]) for row in history]
    first_best = values.index(max(values)) + 1
    assert summary["best_epoch"] == first_best
    assert load_model(folder.path, torch.device("cpu")).card["epoch"] == first_best


def test_early_stopping_ends_after_patience(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    config = small_config(
        train={"epochs": 30, "method": "standard", "early_stop": {"patience": 2},
               "optimizer": {"name": "sgd", "lr": 1e-12}, "select": "auc"},
    )  # fmt: skip
    summary = run_stage(train, config, folder, Ports()).summary
    assert summary["epoch"] - summary["best_epoch"] == 3
    assert summary["epoch"] < 30
