"""The cost of a method: figures, reasons where there are none, what is measured again."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from isnet_cli.benchmark.cells import Cell
from isnet_cli.benchmark.cost import (
    CostRequest,
    main,
    make_random_batch,
    measure_cost,
    measure_costs,
)
from isnet_cli.benchmark.pool import start_process
from isnet_cli.config.benchmark import Benchmark, Cost
from isnet_cli.config.load import dump
from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_json, write_text
from isnet_cli.core.run_context import RunContext
from isnet_models.backbones import build_backbone, count_parameters
from tests.support.runs import small_config

BENCH = Benchmark(cost=Cost(steps=1, batch_size=2, images=2))


@pytest.fixture(autouse=True)
def same_determinism():
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def request_of(tmp_path: Path, **train: object) -> CostRequest:
    config = small_config(train=train)
    write_text(tmp_path / "m.yaml", dump(config))
    return CostRequest(str(tmp_path / "m.yaml"), classes=3, steps=3, batch_size=2, images=5)


def test_figures_of_a_method(tmp_path: Path) -> None:
    found = measure_cost(request_of(tmp_path, method="isnet"))
    assert 0 < found["step_ms_min"] <= found["step_ms_median"] <= found["step_ms_max"]
    assert found["ratio_min"] <= found["ratio"] <= found["ratio_max"]
    assert found["ratio"] > 1  # maps are made besides
    assert found["images_per_second"] > 0
    assert found["parameters"] == found["trainable"] == count_parameters(build_backbone("small", 3))
    assert found["step_memory_mb"] >= 0
    assert (found["steps"], found["batch_size"], found["device"]) == (3, 2, "cpu")


def test_the_batch_is_like_images(tmp_path: Path) -> None:
    batch = make_random_batch(small_config(), 2, 4, torch.device("cpu"))
    assert batch.images.shape == (4, 1, 32, 32)
    assert 0 <= float(batch.images.min()) < float(batch.images.max()) <= 1
    assert set(batch.masks.unique().tolist()) == {0.0, 1.0}
    assert 0.1 < float(batch.masks.mean()) < 0.5
    assert batch.labels.tolist() == [0, 1, 0, 1]
    several = small_config(data={"labels": {"task": "multilabel"}})
    assert make_random_batch(several, 3, 2, torch.device("cpu")).labels.tolist() == [
        [1, 0, 0],
        [0, 1, 0],
    ]


def test_what_cannot_be_measured_is_a_reason(tmp_path: Path) -> None:
    config = small_config(model={"arch": "nothing"})
    write_text(tmp_path / "m.yaml", dump(config))
    asked = tmp_path / "request.json"
    write_json(asked, asdict(CostRequest(str(tmp_path / "m.yaml"), 2, 1, 2, 2)))
    assert main([str(asked), str(tmp_path / "result.json")]) == 0
    found = json.loads((tmp_path / "result.json").read_text())
    assert list(found) == ["why"]
    assert "nothing" in found["why"]


def cell(data: str, method: str, seed: int = 0, **train: Any) -> Cell:
    return Cell(data, method, seed, small_config(train={"method": method, **train}))


class Fake:
    """Counts what is measured; tells what it is."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: CostRequest, name: str) -> dict[str, Any] | None:
        assert Path(request.config).is_file()
        self.asked.append(name)
        return {"why": f"{name} {request.classes} {request.steps}"}


def test_each_method_of_the_first_data_setting_is_measured_once(tmp_path: Path) -> None:
    cells = [cell("a", "standard"), cell("a", "isnet"), cell("a", "isnet", 1), cell("b", "isnet")]
    fake = Fake()
    found = measure_costs(BENCH, cells, 3, tmp_path, RunContext(), fake)
    assert found == ({"standard": {"why": "standard 3 1"}, "isnet": {"why": "isnet 3 1"}}, True)
    assert measure_costs(BENCH, cells, 3, tmp_path, RunContext(), fake) == found
    assert fake.asked == ["standard", "isnet"]
    changed = [cells[0], cell("a", "isnet", clip_norm=2.0)]
    measure_costs(BENCH, changed, 3, tmp_path, RunContext(), fake)
    assert fake.asked == ["standard", "isnet", "isnet"]
    measure_costs(BENCH, cells, 4, tmp_path, RunContext(), fake)
    assert len(fake.asked) == 5
    assert len(json.loads((tmp_path / "cost.json").read_text())["measured"]) == 5


def test_nothing_is_measured_unasked_or_after_a_stop(tmp_path: Path) -> None:
    fake, cells = Fake(), [cell("a", "standard")]
    assert measure_costs(Benchmark(cost="none"), cells, 2, tmp_path, RunContext(), fake) == (
        {},
        True,
    )
    assert measure_costs(BENCH, [], 2, tmp_path, RunContext(), fake) == ({}, True)
    stopped = RunContext(stop_requested=lambda: True)
    assert measure_costs(BENCH, cells, 2, tmp_path, stopped, fake) == ({}, False)
    assert fake.asked == []
    assert measure_costs(BENCH, cells, 2, tmp_path, RunContext(), lambda r, n: None) == ({}, False)


def test_a_process_is_asked_and_its_answer_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def start(words: list[str], log: Path, threads: int) -> subprocess.Popen[bytes]:
        asked.append(words)
        question, answer = words[2:]
        script = (
            "import json, sys; q = json.load(open(sys.argv[1])); "
            "json.dump({'why': str(q['classes'])}, open(sys.argv[2], 'w'))"
        )
        words = ["-c", script, question, answer] if len(asked) == 1 else ["-c", "exit(3)"]
        return start_process(words, log, threads)

    monkeypatch.setattr("isnet_cli.benchmark.cost.start_process", start)
    bench, cells = BENCH, [cell("a", "standard"), cell("a", "isnet")]
    found, complete = measure_costs(bench, cells, 2, tmp_path, RunContext())
    assert complete
    assert found["standard"] == {"why": "2"}
    log = tmp_path / "logs" / "cost--isnet.log"
    assert found["isnet"] == {"why": f"the process ended with code 3, see {log}"}
    assert asked[0][:2] == ["-m", "isnet_cli.benchmark.cost"]


@pytest.mark.slow
def test_a_process_of_its_own_measures(tmp_path: Path) -> None:
    broken = Cell("a", "standard", 0, Config.model_validate({"model": {"arch": "nothing"}}))
    found, complete = measure_costs(BENCH, [broken], 2, tmp_path, RunContext())
    assert complete
    assert "nothing" in found["standard"]["why"]
    assert (tmp_path / "logs" / "cost--standard.log").is_file()
