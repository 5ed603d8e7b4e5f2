"""Subgroups: the scores of a part are those of that part alone, and small parts stay hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isnet_cli.config.schema import Intervals
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.records.facts import Facts, write_facts
from isnet_cli.core.records.metrics import Metrics
from isnet_cli.core.records.read import read_record
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.evaluate.subgroup_scores import GAPS, SHARED, Predicted, score_subgroups
from isnet_cli.images.manifest import read_manifest
from isnet_cli.stats.comparison import adjust_by_holm
from isnet_cli.stats.scores import scores
from tests.evaluate.factory import make_trained
from tests.support.runs import small_config

FAST = Intervals(draws=1000, bootstrap=200)
CLASSES = ["sick", "well"]


def predict(n: int = 120, gap: float = 1.5, patients: int | None = None) -> Predicted:
    """Images of two groups in turn; the second group's answers are noisier by `gap`."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, n)
    noise = rng.normal(0, 1, n) * (1 + gap * (np.arange(n) % 2))
    odds = 1.5 * np.where(labels == 0, 1, -1) + noise
    p = 1 / (1 + np.exp(-odds))
    names = [f"p{i % (patients or n)}" for i in range(n)]
    return Predicted(np.stack([p, 1 - p], 1), labels, names, CLASSES, None)


def test_a_groups_scores_are_those_of_its_images_alone() -> None:
    predicted = predict()
    groups = ["ab"[i % 2] for i in range(120)]
    found = score_subgroups(predicted, {"sex": groups}, FAST, 20, 0)["sex"]["groups"]
    for place, name in enumerate("ab"):
        own = scores(predicted.p[place::2], predicted.labels[place::2], CLASSES)
        assert found[name]["n"] == 60
        assert found[name]["macro"] == own["macro"]
        cell = found[name]["intervals"]["macro"]["auc"]
        assert cell["low"] < own["macro"]["auc"] < cell["high"]
    gap = found["b"]["macro"]["auc"] - found["a"]["macro"]["auc"]
    assert found["b"]["gaps"]["macro_auc"]["value"] == pytest.approx(gap)
    assert found["a"]["gaps"]["macro_auc"]["value"] == pytest.approx(-gap)
    assert found["b"]["gaps"]["macro_auc"]["p"] < 0.05


def test_holm_is_over_all_groups_of_the_set() -> None:
    groups = {"sex": ["ab"[i % 2] for i in range(120)], "age": ["xyz"[i % 3] for i in range(120)]}
    found = score_subgroups(predict(), groups, FAST, 20, 0)
    for score in GAPS:
        cells = [g["gaps"][score] for c in found.values() for g in c["groups"].values()]
        assert len(cells) == 5
        assert [c["p_holm"] for c in cells] == adjust_by_holm([c["p"] for c in cells])


def test_small_groups_are_counted_and_not_shown() -> None:
    groups = ["a"] * 70 + ["b"] * 40 + ["c"] * 6 + [""] * 4
    found = score_subgroups(predict(), {"x": groups}, FAST, 20, 0)["x"]
    assert list(found["groups"]) == ["a", "b"]
    assert (found["suppressed"], found["unknown"]) == ({"groups": 1, "images": 6}, 4)
    none = score_subgroups(predict(), {"x": [str(i) for i in range(120)]}, FAST, 20, 0)["x"]
    assert (none["groups"], none["why"]) == ({}, "no group has 20 labelled images")


def test_patients_on_both_sides_leave_no_interval() -> None:
    groups = ["ab"[i % 2] for i in range(120)]
    found = score_subgroups(predict(patients=61), {"view": groups}, FAST, 20, 0)
    gap = found["view"]["groups"]["a"]["gaps"]["macro_auc"]
    assert (gap["low"], gap["p"], gap["why"]) == (None, None, SHARED)
    assert gap["value"] is not None


def test_thresholds_are_the_same_in_every_group() -> None:
    rng = np.random.default_rng(0)
    p, labels = rng.random((80, 2)), rng.integers(0, 2, (80, 2)).astype(float)
    predicted = Predicted(p, labels, [""] * 80, ["x", "y"], [0.3, 0.8])
    found = score_subgroups(predicted, {"g": ["a", "b"] * 40}, FAST, 20, 0)["g"]["groups"]
    own = scores(p[::2], labels[::2], ["x", "y"], [0.3, 0.8])
    assert found["a"]["per_class"]["x"]["recall"] == own["per_class"]["x"]["recall"]


def evaluated(path: Path, **settings: Any) -> dict[str, Any]:
    folder = make_trained(path, sets={"test": 8})
    rows = read_manifest(folder.path / "ingest/manifest.csv")
    lines = [(row.key, Facts(sex="FM"[i % 2]), {"ward": "w"}) for i, row in enumerate(rows)]
    write_facts(folder.path / "ingest/facts.csv", lines, ["ward"])
    chosen = {"subgroups": ["sex", "ward", "view"], "subgroup_least": 3, **settings}
    config = small_config(evaluate={**FAST_EVALUATE, **chosen})
    run_stage(evaluate, config, folder, RunContext())
    return read_record(folder.path / "evaluate/metrics.json", Metrics, what="scores", fix="")


FAST_EVALUATE: dict[str, Any] = {
    "intervals": {"draws": 1000, "bootstrap": 200}, "background": False, "relevance": False
}  # fmt: skip


def test_the_stage_writes_them_and_its_schema_takes_them(tmp_path: Path) -> None:
    found = evaluated(tmp_path / "a")["sets"]["test"]["standard"]["subgroups"]
    assert list(found) == ["sex", "ward", "view"]
    assert {name: one["n"] for name, one in found["sex"]["groups"].items()} == {"F": 4, "M": 4}
    assert found["ward"]["groups"]["w"]["gaps"]["macro_auc"]["p"] is None  # there is no rest


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="'hair', expected some of source, view, sex") as caught:
        evaluated(tmp_path / "a", subgroups=["hair"])
    assert caught.value.kind == "config"
