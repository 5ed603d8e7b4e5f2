"""Runs are grouped by equal settings; the seed alone may differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isnet_cli.report.compare.seeds import SeedGroup, find_training_seed, group_by_seed
from isnet_cli.report.results import RunResults
from tests.report.compare.factory import compared_run, read


def runs(tmp_path: Path, **named: dict[str, Any]) -> list[RunResults]:
    return [
        read(compared_run(tmp_path / name.replace("_", "-"), **options))
        for name, options in named.items()
    ]


def test_groups_by_settings_in_the_order_of_runs(tmp_path: Path) -> None:
    standard = {"train": {"method": "standard"}}
    found = runs(
        tmp_path, std_1={"seed": 1, **standard}, isnet_0={"seed": 0}, std_0={"seed": 0, **standard},
        isnet_7={"seed": 7}, alone={"train": {"epochs": 3}},
    )  # fmt: skip
    assert group_by_seed(found) == [
        SeedGroup("std", (0, 2), (1, 0)),
        SeedGroup("isnet", (1, 3), (0, 7)),
    ]


@pytest.mark.parametrize(
    ("section", "same"),
    [
        ({"name": "x"}, True),
        ({"machine": {"workers": 3}}, True),
        ({"evaluate": {"batch_size": 3}}, True),
        ({"heatmap": {"limit": 3}}, True),
        ({"model": {"input": [64, 64]}}, False),
        ({"bias": {"kind": "shapes"}}, False),
        ({"train": {"epochs": 3}}, False),
        ({"masks": {"on_suspect": "keep"}}, False),
    ],
)
def test_what_counts_as_the_same_settings(
    tmp_path: Path, section: dict[str, Any], same: bool
) -> None:
    found = runs(tmp_path, a_0={"seed": 0}, a_1={"seed": 1, **section})
    assert bool(group_by_seed(found)) is same


def test_images_of_another_run_are_that_run_s_settings(tmp_path: Path) -> None:
    masks = {"masks": {"on_suspect": "keep"}}
    found = runs(tmp_path, a_0={"seed": 0, **masks}, a_1={"seed": 1})
    assert group_by_seed(found) == []
    found = runs(
        tmp_path, b_0={"seed": 0, **masks}, b_1={"seed": 1, "upstream": str(tmp_path / "b-0")}
    )
    assert len(group_by_seed(found)) == 1


def test_a_model_of_another_run_has_that_run_s_seed(tmp_path: Path) -> None:
    runs(tmp_path, a_0={"seed": 0}, a_4={"seed": 4})
    found = runs(
        tmp_path, x_0={"evaluate": {"model": str(tmp_path / "a-0")}, "seed": 9},
        x_4={"evaluate": {"model": str(tmp_path / "a-4")}, "seed": 9},
        gone={"evaluate": {"model": str(tmp_path / "nothing")}},
    )  # fmt: skip
    assert group_by_seed(found) == [SeedGroup("x", (0, 1), (0, 4))]
    assert [find_training_seed(run) for run in found] == [0, 4, None]


def test_a_seed_counts_once(tmp_path: Path) -> None:
    found = runs(tmp_path, a_0={"seed": 0}, a_b={"seed": 0})
    assert group_by_seed(found) == []
    found = runs(tmp_path, c_0={"seed": 0}, c_b={"seed": 0}, c_1={"seed": 1})
    assert group_by_seed(found)[0].runs == (0, 2)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("tb-seed1", "tb-seed2"), "tb"),
        (("tb_10", "tb_11"), "tb"),
        (("resnet18-0", "resnet18-1"), "resnet18"),
        (("s1", "s2"), "s"),
        (("0", "1"), "settings 1"),
        (("one", "two"), "settings 1"),
    ],
)
def test_names_of_groups(tmp_path: Path, names: tuple[str, str], expected: str) -> None:
    found = [read(compared_run(tmp_path / name, seed=i)) for i, name in enumerate(names)]
    assert [group.name for group in group_by_seed(found)] == [expected]
