"""Pages of comparison: one a data setting, or one a seed where images are split by seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.benchmark import pages as benchmark_pages
from isnet_cli.benchmark.cells import Cell
from isnet_cli.benchmark.pages import MOST, choose_pairs, compare_cells
from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from tests.report.compare.factory import compared_run, images, opened


def cell(root: Path, data: str, method: str, seed: int, split: str) -> Cell:
    made = Cell(data, method, seed, None, split)  # type: ignore[arg-type]
    sets = {"test": images(12, head=f"{split}-")}
    run = compared_run(root / "cells" / made.name, sets, noise=len(method) + seed, seed=seed)
    return replace(made, config=opened(run)[1])


def test_one_page_a_data_setting_when_the_images_are_the_same(tmp_path: Path) -> None:
    cells = [cell(tmp_path, "d", m, 0, "d-seed-0") for m in ("a", "bb", "ccc")]
    cells.append(cell(tmp_path, "alone", "a", 0, "d-seed-0"))
    assert compare_cells(cells, tmp_path, RunContext()) == ["compare-d.html"]
    page = tmp_path / "compare-d.html"
    before = page.stat().st_mtime_ns
    assert compare_cells(cells, tmp_path, RunContext()) == ["compare-d.html"]
    assert page.stat().st_mtime_ns == before
    assert compare_cells(cells[:2], tmp_path, RunContext()) == ["compare-d.html"]
    assert page.stat().st_mtime_ns > before


def test_one_page_a_seed_when_images_are_split_by_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: dict[str, list[str]] = {}

    def noted(runs: Any, page: Path, context: RunContext, *, overwrite: bool, chosen: Any) -> None:
        assert chosen is None
        compared[page.name] = [f"{f.path.parent.name}/{f.path.name}" for f, _ in runs]

    monkeypatch.setattr(benchmark_pages, "compare_runs", noted)
    cells = [cell(tmp_path, "d", m, s, f"d-seed-{s}") for s in (0, 1) for m in ("a", "bb")]
    pages = compare_cells(cells, tmp_path, RunContext())
    assert pages == ["compare-d-seed-0.html", "compare-d-seed-1.html"]
    assert compared == {f"compare-d-seed-{s}.html": [f"a/seed-{s}", f"bb/seed-{s}"] for s in (0, 1)}


def test_many_rows_are_each_tested_against_the_plain_one_of_their_seed() -> None:
    def made(method: str, seed: int, trained: str) -> Cell:
        config = Config.model_validate({"train": {"method": trained}})
        return Cell("d", method, seed, config)

    cells = [made(m, s, "isnet") for s in (0, 1) for m in ("a", "b", "c")]
    assert choose_pairs(cells) is None
    assert len(cells) == MOST
    cells.insert(1, made("plain", 0, "standard"))  # a 0, plain 0, b 0, c 0, a 1, b 1, c 1
    found = choose_pairs(cells)
    assert found is not None
    assert found.pairs == ((1, 0), (1, 2), (1, 3))
    assert "against `plain`" in found.family
    cells.append(made("standard", 1, "standard"))
    found = choose_pairs(cells)
    assert found is not None
    assert found.pairs == ((7, 4), (7, 5), (7, 6))
    found = choose_pairs([made(f"m{i}", 0, "isnet") for i in range(7)])
    assert found is not None
    assert found.pairs == tuple((0, i) for i in range(1, 7))


def test_a_comparison_that_is_not_possible_is_a_warning(tmp_path: Path) -> None:
    one = cell(tmp_path, "d", "a", 0, "x")
    two = replace(cell(tmp_path, "d", "bb", 0, "y"), images="x")
    said: list[str] = []
    context = RunContext(warn=lambda category, text: said.append(text))
    assert compare_cells([one, two], tmp_path, context) == []
    assert any(text.startswith("compare-d.html: ") for text in said)
