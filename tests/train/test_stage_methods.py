"""Every method trains from YAML, goes on exactly where it stopped, is evaluated and explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from isnet_cli.core.files import read_csv, sha256_file
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.heatmap import stage as heatmap
from isnet_cli.inference.model_files import load_model
from isnet_cli.train import stage as train
from isnet_cli.train.model_card import name_network
from isnet_models.methods import registry
from tests.models.methods.factory import CASES, SIZES
from tests.support.method_runs import SETTINGS, own_segmenter
from tests.support.runs import make_run, small_config

SETS = {"train": 9, "val": 4, "test": 2}
# One with maps and an addition; test_teacher trains one that learns from a teacher, and
# test_stage_networks one with a segmenter inside. What the others share with them is tested in
# tests/models/methods.
FAST = ("isnet+background_mix",)


class _Stop:
    """Asks to stop after a number of questions."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def _config(name: str, tmp_path: Path) -> Any:
    first, size = name.split("+", maxsplit=1)[0], SIZES.get(name, 32)
    own = dict(SETTINGS.get(first, {}))
    if first == "distillation":
        teacher = make_run(tmp_path / "teacher", sets=SETS)
        plain = small_config(train={"method": "standard", "epochs": 1})
        assert run_stage(train, plain, teacher, RunContext()).status == "done"
        own["teacher"] = str(teacher.path)
    if "range" in registry.needs(name):
        own |= {"heatmap_weight": 0.5, "relevance_range": [1.0, 25.0]}
    masks = {}
    if first == "segment_then_classify":
        masks = {"masks": {"model": str(own_segmenter(tmp_path / "segmenter"))}}
    settings = {
        "method": name, "epochs": 2, "settings": {first: own},
    }  # fmt: skip
    return small_config(
        train=settings, model={"arch": "small", "input": [size, size]},
        heatmap={"formats": ["npz"], "limit": 1}, **masks,
    )  # fmt: skip


def _hash(folder: RunFolder) -> str:
    return sha256_file(folder.path / "train" / "model.safetensors")


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_trains_resumes_evaluates_and_explains(tmp_path: Path, name: str) -> None:
    config = _config(name, tmp_path)
    whole, parts = (make_run(tmp_path / one, sets=SETS) for one in ("whole", "parts"))
    assert run_stage(train, config, whole, RunContext()).status == "done"
    # two batches an epoch: it stops within the second epoch
    stopped = run_stage(train, config, parts, RunContext(stop_requested=_Stop(3)))
    assert stopped.status == "incomplete"
    assert stopped.summary["epoch"] == 1
    assert run_stage(train, config, parts, RunContext()).status == "done"
    assert _hash(whole) == _hash(parts)
    assert len(read_csv(whole.path / "train" / "history.csv")) == 2
    for stage in (evaluate, heatmap):
        assert run_stage(stage, config, whole, RunContext()).status == "done"
    first = registry.parts(name)[0]
    (line,) = read_csv(whole.path / "heatmap" / "index.csv")
    assert line["method"].split()[0] == first.explains
    metrics = json.loads((whole.path / "evaluate" / "metrics.json").read_text())
    assert metrics["model"]["method"] == name
    card = json.loads((whole.path / "train" / "model.json").read_text())
    assert (card["method"], card["arch"]) == (name, name_network(config))
    assert card["settings"][first.name].items() >= SETTINGS.get(first.name, {}).items()
    if first.own_network or first.name in SETTINGS:  # LRP is defined for each of them
        assert "why" not in metrics["sets"]["test"]["standard"]["relevance_outside"]
    nets = [load_model(whole.path, torch.device("cpu")).net.state_dict() for _ in range(2)]
    assert all(torch.equal(value, nets[1][k]) for k, value in nets[0].items())
