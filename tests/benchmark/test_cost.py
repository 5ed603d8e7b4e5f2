"""The cost of a method on noise: plausible figures, and a reason where there are none."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from isnet_cli.benchmark.cost import Request, main, measure, random_batch
from isnet_cli.config.load import dump
from isnet_cli.core.files import write_json, write_text
from isnet_models.backbones import build_backbone, count_parameters
from tests.support.runs import small_config


@pytest.fixture(autouse=True)
def same_determinism():
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def request_of(tmp_path: Path, **train: object) -> Request:
    config = small_config(train=train)
    write_text(tmp_path / "m.yaml", dump(config))
    return Request(str(tmp_path / "m.yaml"), classes=3, steps=3, batch_size=2, images=5)


def test_figures_of_a_method(tmp_path: Path) -> None:
    found = measure(request_of(tmp_path, method="isnet"))
    assert 0 < found["step_ms_min"] <= found["step_ms_median"] <= found["step_ms_max"]
    assert found["ratio_min"] <= found["ratio"] <= found["ratio_max"]
    assert found["ratio"] > 1  # maps are made besides
    assert found["images_per_second"] > 0
    assert found["parameters"] == found["trainable"] == count_parameters(build_backbone("small", 3))
    assert found["step_memory_mb"] >= 0
    assert (found["steps"], found["batch_size"], found["device"]) == (3, 2, "cpu")


def test_the_batch_is_like_images(tmp_path: Path) -> None:
    batch = random_batch(small_config(), 2, 4, torch.device("cpu"))
    assert batch.images.shape == (4, 1, 32, 32)
    assert 0 <= float(batch.images.min()) < float(batch.images.max()) <= 1
    assert set(batch.masks.unique().tolist()) == {0.0, 1.0}
    assert 0.1 < float(batch.masks.mean()) < 0.5
    assert batch.labels.tolist() == [0, 1, 0, 1]
    several = small_config(data={"labels": {"task": "multilabel"}})
    assert random_batch(several, 3, 2, torch.device("cpu")).labels.tolist() == [
        [1, 0, 0],
        [0, 1, 0],
    ]


def test_what_cannot_be_measured_is_a_reason(tmp_path: Path) -> None:
    config = small_config(model={"arch": "nothing"})
    write_text(tmp_path / "m.yaml", dump(config))
    asked = tmp_path / "request.json"
    write_json(asked, asdict(Request(str(tmp_path / "m.yaml"), 2, 1, 2, 2)))
    assert main([str(asked), str(tmp_path / "result.json")]) == 0
    found = json.loads((tmp_path / "result.json").read_text())
    assert list(found) == ["why"]
    assert "nothing" in found["why"]
