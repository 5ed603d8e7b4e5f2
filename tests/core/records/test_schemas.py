"""What records have to hold, by one sound example of each and its changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from isnet_cli.core.records.metrics import Metrics
from isnet_cli.core.records.read import Record, find_faults
from isnet_cli.core.records.schemas import CardHead, ModelCard, RangeRecord, RunRecord

HASH = "0" * 64
RATES = {"f1": 0.5, "auc": None, "why": {"auc": "one class"}}
CELL = {"value": 0.5, "low": 0.1, "high": 0.9, "sd": None, "method": "beta"}
SCORED = {"n": 2, "macro": RATES, "per_class": {"x": RATES, "y": RATES}}
RUN: dict[str, Any] = {
    "schema": 2,
    "stages": {
        "ingest": {
            "status": "done", "fingerprint": "f", "outputs": {"manifest.csv": HASH}, "summary": {},
            "products": HASH, "settings": None, "made_from": {},
        },
        "evaluate": {
            "status": "done", "fingerprint": "f", "outputs": {}, "made_from": {"ingest": HASH},
            "summary": {"sets": {"test": {"standard": {"n": 2, "background": {"n": 0}}}}},
        },
        "train": {"status": "running", "fingerprint": "unknown"},
    },
    "versions": {"isnet": "0.2"},
}  # fmt: skip
CARD: dict[str, Any] = {
    "schema": 2, "classes": ["x", "y"], "task": "multiclass", "arch": "small", "method": "isnet",
    "input": [32, 32], "channels": 1, "dropout": 0.0, "thresholds": None, "sha256": HASH,
    "heatmap": {"family": "flex", "epsilon": 0.01, "bounded_first_layer": True},
    "settings": {"isnet": {}}, "normalisation": [[0.5], [0.5]],
}  # fmt: skip
METRICS: dict[str, Any] = {
    "task": "multiclass", "classes": ["x", "y"], "thresholds": None,
    "sets": {"test": {"standard": {
        **SCORED, "files": ["test/standard/predictions.csv"],
        "intervals": {"level": 0.95, "macro": {"f1": CELL}, "per_class": {"x": {"f1": CELL}}},
        "calibration": {
            "brier": 0.2, "ece": 0.1, "ece_if_calibrated": {"mean": 0.1, "high": 0.2},
            "curve": [{"low": 0, "high": 1, "n": 2, "predicted": 0.5, "observed": 0.5}],
            "per_class": {"x": {"brier": 0.1, "ece": 0.1, "curve": []}},
        },
        "relevance_outside": {"n": 2, "mean": 0.5, "p95": None, "per_class": {"x": {"n": 1}}},
        "background": {
            "n": 2, "variants": {"full": SCORED, "lungs_removed": SCORED}, "background_auc": CELL,
            "flips": {"n": 2, "rate": 0.5, "per_class": {"x": CELL}},
            "gap": {"f1": CELL, "auc": CELL},
        },
        "attack": {
            "n": 2, "steps": 10, "bounds": [0.1],
            "background": {"rate": 0.5, "mean_bound": None, **CELL},
            "lungs": {"rate": 0.5, "mean_bound": 0.1, **CELL},
        },
    }}},
    "shift": [{
        "from": ["test", "standard"], "to": ["b", "standard"], "paired": False,
        "differences": {"macro": {"f1": CELL, "auc": CELL}},
    }],
}  # fmt: skip
TEST = ("sets", "test", "standard")
RANGES = {"identity": "i", "ranges": {"input": [0.1, 2.0], "late": [0.1, None]}}
SOUND = ((RUN, RunRecord), (CARD, ModelCard), (CARD, CardHead), (METRICS, Metrics),
         (RANGES, RangeRecord))  # fmt: skip
ABSENT = object()


def change(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    found = copy.deepcopy(tree)
    here = found
    for key in place[:-1]:
        here = here[key]
    if value is ABSENT:
        del here[place[-1]]
    else:
        here[place[-1]] = value
    return found


@pytest.mark.parametrize(("content", "schema"), SOUND)
def test_sound_records_pass(content: Any, schema: type[Record]) -> None:
    assert find_faults(content, schema) == []


def test_a_name_that_parts_findings_is_refused_where_there_are_several() -> None:
    """`predicted` joins names by semicolons: two classes would read as three."""
    for names, task, sound in (
        (["a;b", "c"], "multiclass", True),
        (["a;b", "c"], "multilabel", False),
        (["a=b", "c"], "multilabel", False),
        (["a b", "c"], "multilabel", True),
    ):
        thresholds = [0.5, 0.5] if task == "multilabel" else None
        card = {**CARD, "classes": names, "task": task, "thresholds": thresholds}
        if sound:
            ModelCard.model_validate(card)
        else:
            with pytest.raises(ValueError, match="part findings"):
                ModelCard.model_validate(card)


def list_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in items:
        found.append((*path, key))
        if isinstance(inner, (dict, list)):
            found += list_places(inner, (*path, key))
    return found


@pytest.mark.parametrize(("content", "schema"), SOUND)
def test_an_object_in_place_of_anything_else_is_refused(content: Any, schema: type[Record]) -> None:
    """No figure may be an object, and no object a number: readers would stumble over either."""
    unread = {"schema"} if schema is CardHead else set()
    known = set(CardHead.model_fields) | {"heatmap"} if schema is CardHead else None
    for place in list_places(content):
        if (known and place[0] not in known) or place[0] in unread or "heatmap" in place:
            continue
        here = content
        for key in place:
            here = here[key]
        wrong: Any = 5 if isinstance(here, (dict, list)) else {"a": [1]}
        assert find_faults(change(content, place, wrong), schema), place


@pytest.mark.parametrize(
    ("content", "schema", "place", "value"),
    [
        (RUN, RunRecord, ("stages", "ingest", "outputs"), {"../a": HASH}),
        (RUN, RunRecord, ("stages", "ingest", "outputs"), {"a\\b": HASH}),
        (RUN, RunRecord, ("stages", "ingest", "outputs"), {"C:a": HASH}),
        (RUN, RunRecord, ("stages", "ingest", "outputs"), {"a": "0"}),
        (RUN, RunRecord, ("stages", "ingest", "outputs"), ABSENT),
        (RUN, RunRecord, ("stages", "ingest", "status"), "ready"),
        (RUN, RunRecord, ("stages", "other"), {}),
        (RUN, RunRecord, ("stages", "ingest", "summary"), {"skipped": "2"}),
        (RUN, RunRecord, ("stages", "evaluate", "summary", "sets", "test", "standard", "n"), "2"),
        (CARD, ModelCard, ("task",), 5),
        (CARD, ModelCard, ("classes",), ["x", "x"]),
        (CARD, ModelCard, ("thresholds",), [0.5, 0.5]),
        (CARD, ModelCard, ("channels",), True),
        (CARD, ModelCard, ("channels",), 2),
        (CARD, ModelCard, ("method",), "unknown"),
        (CARD, ModelCard, ("sha256",), None),
        (CARD, ModelCard, ("reading",), None),
        (CARD, ModelCard, ("settings", "isnet", "weight"), "x"),
        (CARD, ModelCard, ("heatmap", "relevance_range"), {"input": [None, 1.0]}),
        (METRICS, Metrics, (*TEST, "files"), ["/etc/passwd"]),
        (METRICS, Metrics, (*TEST, "per_class", "x"), ABSENT),
        (METRICS, Metrics, (*TEST, "background", "flips"), ABSENT),
        (METRICS, Metrics, (*TEST, "background", "variants", "full"), ABSENT),
        (METRICS, Metrics, (*TEST, "background", "variants", "full", "macro", "f1"), ABSENT),
        (METRICS, Metrics, (*TEST, "attack", "bounds"), []),
        (METRICS, Metrics, (*TEST, "calibration", "ece_if_calibrated"), ABSENT),
        (METRICS, Metrics, ("shift", 0, "differences"), ABSENT),
        (METRICS, Metrics, ("thresholds",), [1.5]),
        (RANGES, RangeRecord, ("ranges", "input"), [0.1]),
        (RANGES, RangeRecord, ("ranges", "input"), [None, 1.0]),
        (RANGES, RangeRecord, ("ranges", "input"), [0, 1.0]),
    ],
)  # fmt: skip
def test_faults_are_found(
    content: Any, schema: type[Record], place: tuple[Any, ...], value: Any
) -> None:
    assert find_faults(change(content, place, value), schema)
