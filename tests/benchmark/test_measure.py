"""Measured costs are kept by what they depend on; a stop keeps what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from isnet_cli.benchmark.cells import Cell
from isnet_cli.benchmark.cost import Request
from isnet_cli.benchmark.measure import measure_costs
from isnet_cli.config.benchmark import Benchmark, Cost
from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from tests.support.runs import small_config

BENCH = Benchmark(cost=Cost(steps=1, batch_size=2, images=2))


def cell(data: str, method: str, seed: int = 0, **train: Any) -> Cell:
    return Cell(data, method, seed, small_config(train={"method": method, **train}))


class Fake:
    """Counts what is measured; tells what it is."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: Request, name: str) -> dict[str, Any] | None:
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
    assert len(json.loads((tmp_path / "cost.json").read_text())) == 5


def test_nothing_is_measured_unasked_or_after_a_stop(tmp_path: Path) -> None:
    fake, cells = Fake(), [cell("a", "standard")]
    assert measure_costs(Benchmark(cost=None), cells, 2, tmp_path, RunContext(), fake) == ({}, True)
    assert measure_costs(BENCH, [], 2, tmp_path, RunContext(), fake) == ({}, True)
    stopped = RunContext(stop_requested=lambda: True)
    assert measure_costs(BENCH, cells, 2, tmp_path, stopped, fake) == ({}, False)
    assert fake.asked == []
    assert measure_costs(BENCH, cells, 2, tmp_path, RunContext(), lambda r, n: None) == ({}, False)


def test_a_process_of_its_own_measures(tmp_path: Path) -> None:
    broken = Cell("a", "standard", 0, Config.model_validate({"model": {"arch": "nothing"}}))
    found, complete = measure_costs(BENCH, [broken], 2, tmp_path, RunContext())
    assert complete
    assert "nothing" in found["standard"]["why"]
    assert (tmp_path / "logs" / "cost.standard.log").is_file()
