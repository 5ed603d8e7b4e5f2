"""Every variant of the ISNet trains from YAML, is evaluated and explained by its own family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.heatmap import stage as heatmap
from isnet_cli.train import stage as train
from isnet_models.methods.guided.isnet import VARIANTS
from tests.support.runs import make_run, small_config

SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"variant": name} for name in VARIANTS},
    **{f"{name} deep": {"variant": name, "layers": "auto"} for name in VARIANTS},
    "named layers": {"layers": ["stages.1"], "layer_decay": 1.0},
    "energy": {"loss": "energy", "layers": "auto"},
    "given range": {"relevance_range": [1.0, 25.0], "layers": "auto"},
    "every second step": {"every_steps": 2},
    "half of each batch": {"batch_share": 0.5},
    "series, made twice": {"variant": "original", "memory_gb": 0.0, "recompute_maps": True},
    "energy in series": {"variant": "original", "loss": "energy", "layers": "auto",
                         "memory_gb": 0.0, "recompute_maps": True},
    "authors": {"batch_norm_gradient": "full"},
}  # fmt: skip


FAST = ("dual deep", "energy in series")


@pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS],
)
def test_trains_evaluates_and_explains(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path / "run", sets={"train": 9, "val": 4, "test": 2})
    loss = {"heatmap_weight": 0.5, "layers": "none", "range_epochs": 1, **SETTINGS[name]}
    settings = {"method": "isnet", "epochs": 1, "settings": {"isnet": loss}}
    config = small_config(train=settings, heatmap={"formats": ["npz"], "limit": 1})
    for stage in (train, evaluate, heatmap):
        assert run_stage(stage, config, folder, RunContext()).status == "done"
    history = read_csv(folder.path / "train" / "history.csv")
    assert float(history[0]["train_heatmap"]) > 0
    assert 0 < float(history[0]["train_mapped"]) <= 1
    layers = [column for column in history[0] if column.startswith("train_heatmap_")]
    deep = "layers" in SETTINGS[name]
    assert (len(layers) >= 2) == deep
    card = json.loads((folder.path / "train" / "model.json").read_text())["heatmap"]
    expected = "block" if loss.get("variant") in ("original", "dual") else "flex"
    assert card["family"] == expected
    assert bool(card["relevance_range"]) == (loss.get("loss") != "energy")


@pytest.mark.parametrize("method", ["isnet", pytest.param("standard", marks=pytest.mark.slow)])
def test_mixed_precision_trains(tmp_path: Path, method: str) -> None:
    losses = {}
    for precision in ("float32", "mixed"):
        folder = make_run(tmp_path / precision, sets={"train": 5, "val": 2})
        loss = {"heatmap_weight": 0.5, "relevance_range": [1.0, 25.0]}
        settings = {
            "method": method, "epochs": 1, "precision": precision,
            "settings": {"isnet": loss},
        }  # fmt: skip
        run_stage(train, small_config(train=settings), folder, RunContext())
        (row,) = read_csv(folder.path / "train" / "history.csv")
        losses[precision] = float(row["train_loss"])
    assert losses["mixed"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["mixed"] != losses["float32"]
