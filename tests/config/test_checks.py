"""Checks across keys: each refuses what is impossible and lets its neighbour pass."""

from __future__ import annotations

from typing import Any

import pytest

from isnet_cli.config.checks import check
from isnet_cli.config.load import dotted
from isnet_cli.config.schema import Config

MULTILABEL = {"labels": {"task": "multilabel"}}

BAD: list[tuple[str, dict[str, Any], str]] = [
    (
        "bias.kind",
        {"data": MULTILABEL, "bias": {"kind": "shapes"}, "train": {"method": "standard"}},
        "one class per image",
    ),
    (
        "train.settings.isnet.variant",
        {"data": MULTILABEL, "train": {"settings": {"isnet": {"variant": "selective"}}}},
        "set train.settings.isnet.variant: auto",
    ),
    (
        "train.settings.isnet.variant",
        {
            "data": MULTILABEL,
            "train": {
                "method": "isnet + background_mix",
                "settings": {"isnet": {"preset": "paper"}},
            },
        },
        "set train.settings.isnet.variant: auto",
    ),
    (
        "data.collections.a.labels.classes",
        {"data": {"collections": {"a": {"images": "/x", "labels": {"classes": ["p", "q"]}}}}},
        "share data.labels.classes",
    ),
    ("data.collections.", {"data": {"collections": {"": {"images": "/x"}}}}, "an empty name"),
    (
        "data.collections.a.columns.patient",
        {"data": {"collections": {"a": {"images": "/x", "columns": {"patient": "path:("}}}}},
        "no regular expression",
    ),
    (
        "data.sets.collections.a",
        {"data": {"sets": {"collections.a": {"images": "/x"}}}},
        "are data.collections",
    ),
    (
        "data.sets.a.fraction",
        {"data": {"sets": {"a": {"images": "/x", "fraction": 0.5}}}},
        "takes all of them",
    ),
    (
        "data.sets.a.labels.task",
        {"data": {"sets": {"a": {"images": "/x", "labels": {"task": "multilabel"}}}}},
        "data.labels.task is multiclass",
    ),
    (
        "data.sets",
        {"data": {"sets": {"a": {"fraction": 0.6}, "b": {"fraction": 0.5}}}},
        "add up to 1.1",
    ),
    (
        "data.sets",
        {
            "data": {
                "sets": {
                    "a": {"source": ["p", "q"], "fraction": 0.6},
                    "b": {"source": ["q", "p"], "fraction": 0.6},
                }
            }
        },
        "of source p, q add up to 1.2",
    ),
    (
        "data.sets.a.only",
        {"data": {"sets": {"a": {"source": "p", "only": {"p": ["x"]}}}}},
        "remove source",
    ),
    ("data.sets.a.only", {"data": {"sets": {"a": {"only": {"p": []}}}}}, "at least one class"),
    (
        "data.sets",
        {
            "data": {
                "sets": {
                    "a": {"only": {"p": ["x", "y"]}, "fraction": 0.6},
                    "b": {"only": {"p": ["y", "x"]}, "fraction": 0.6},
                }
            }
        },
        "of source p add up to 1.2",
    ),
    ("data.labels.classes", {"data": {"labels": {"classes": ["a", "a"]}}}, "named twice"),
    (
        "train.class_weights",
        {"data": {"labels": {"classes": ["a", "b"]}}, "train": {"class_weights": [1.0]}},
        "1 weights for 2 classes",
    ),
    (
        "train.precision",
        {"train": {"precision": "mixed", "settings": {"isnet": {"variant": "dual"}}}},
        "needs float32",
    ),
    (
        "heatmap.target",
        {"data": {"labels": {"classes": ["a", "b"]}}, "heatmap": {"target": "c"}},
        "predicted, true, all or one of a, b",
    ),
    ("heatmap.family", {"heatmap": {"method": "gradcam", "family": "z+"}}, "method lrp"),
    (
        "heatmap.target",
        {"heatmap": {"method": "attention_rollout", "target": "all"}},
        "the same for every class",
    ),
    (
        "heatmap.target",
        {"train": {"method": "vit"}, "heatmap": {"target": "true"}},
        "the same for every class",
    ),
    (
        "heatmap.family",
        {"train": {"method": "vit"}, "heatmap": {"family": "flex"}},
        "found method attention_rollout",
    ),
    (
        "masks.model",
        {"train": {"method": "segment_then_classify"}, "masks": {"model": "none"}},
        "segment_then_classify needs the lung U-Net, found none",
    ),
    ("heatmap.formats", {"heatmap": {"formats": ["png", "png"]}}, "named twice"),
    (
        "heatmap.identity",
        {"heatmap": {"identity": "keep"}, "data": {"privacy": {"rename": True}}},
        "contradicts data.privacy.rename",
    ),
    (
        "train.schedule.warmup_epochs",
        {"train": {"epochs": 3, "schedule": {"warmup_epochs": 3}}},
        "fewer than train.epochs (3)",
    ),
    ("train.schedule.milestones", {"train": {"schedule": {"milestones": [5, 2]}}}, "rising"),
    ("bias.shapes", {"bias": {"shapes": ["circle", "circle"]}}, "named twice"),
    ("bias.shapes", {"bias": {"shapes": ["circle"]}}, "at least two"),
]
GOOD: list[dict[str, Any]] = [
    {},
    {"data": MULTILABEL, "train": {"settings": {"isnet": {"variant": "stochastic"}}}},
    {"data": MULTILABEL, "train": {"method": "standard"}},
    {"bias": {"kind": "shapes"}},
    {
        "data": {
            "sets": {"a": {"source": "p", "fraction": 1.0}, "b": {"source": "q", "fraction": 1.0}}
        }
    },
    {"data": {"sets": {"a": {"fraction": 0.7}, "b": {"fraction": 0.2}, "c": {"fraction": 0.1}}}},
    {"data": {"labels": {"classes": ["a", "b"]}}, "heatmap": {"target": "a"}},
    {"heatmap": {"family": "z+", "identity": "keep", "formats": ["nifti", "dicom-seg"]}},
    {"heatmap": {"method": "attention_rollout"}},
    {"train": {"method": "vit"}, "heatmap": {"target": "true", "method": "lrp"}},
    {"train": {"method": "vit"}, "heatmap": {"target": "true", "model": "/another/run"}},
    {"train": {"method": "segment_then_classify"}, "masks": {"model": "own.safetensors"}},
    {"heatmap": {"target": "anything while the classes are not known"}},
]


@pytest.mark.parametrize(("key", "tree", "words"), BAD)
def test_refused_with_key_and_reason(key: str, tree: dict[str, Any], words: str) -> None:
    found = check(Config.model_validate(tree))
    assert [dotted(where) for where, _ in found] == [key]
    assert words in found[0][1]


@pytest.mark.parametrize("tree", GOOD)
def test_accepted(tree: dict[str, Any]) -> None:
    assert check(Config.model_validate(tree)) == []
