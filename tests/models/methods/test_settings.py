"""Settings of the methods: strict about names, types and ranges; lists stand for tuples."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from isnet_models.methods import registry, settings
from isnet_models.methods.registry import ENTRIES, Entry

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("isnet", {"w1": 1.0}, "w1"),
    ("isnet", {"epsilon": "0.1"}, "epsilon"),
    ("isnet", {"epsilon": float("nan")}, "epsilon"),
    ("isnet", {"bounded_first_layer": 1}, "bounded_first_layer"),
    ("isnet", {"background_weight": 0, "foreground_weight": 0}, "must not both be 0"),
    ("isnet", {"heatmap_weight": {}}, "entry for epoch 0"),
    ("isnet", {"heatmap_weight": {5: 0.5}}, "entry for epoch 0"),
    ("isnet", {"heatmap_weight": {0: 1.5}}, "less than or equal to 1"),
    ("isnet", {"heatmap_weight": 1.5}, "less than or equal to 1"),
    ("isnet", {"relevance_range": [1.0]}, "relevance_range"),
    ("isnet", {"relevance_range": [0.0, 1.0]}, "greater than 0"),
    ("isnet", {"relevance_range": {"input": [2.0, 1.0]}}, "lower end first"),
    ("isnet", {"relevance_range": [1.0, "more"]}, "'none'"),
    ("isnet", {"relevance_range": ["none", 1.0]}, "relevance_range"),
    ("isnet", {"relevance_range": "estimate_high"}, "'estimate' or 'estimate_low'"),
    ("isnet", {"pooling_share": 0.0}, "greater than 0"),
    ("isnet", {"pooling_share": 1.1}, "less than or equal to 1"),
    ("isnet", {"pooling_decay": "all"}, "'share'"),
    ("isnet", {"pooling_decay": 1.1}, "less than or equal to 1"),
    ("isnet", {"margin": -0.1}, "greater than or equal to 0"),
    ("isnet", {"margin": 0.3}, "less than or equal to 0.25"),
    ("isnet", {"warmup_epochs": -1}, "greater than or equal to 0"),
    ("isnet", {"variant": "best"}, "'auto'"),
    ("isnet", {"preset": "nature"}, "'default' or 'paper'"),
    ("isnet", {"memory_gb": None}, "memory_gb"),
    ("isnet", {"batch_share": 0.0}, "greater than 0"),
    ("grad_input", {"variant": "flex"}, "variant"),
    ("rrr", {"gradient_weight": -1.0}, "greater than or equal to 0"),
    ("gain", {"attention_weight": -1.0}, "greater than or equal to 0"),
    ("gain", {"sharpness": 0.0}, "greater than 0"),
    ("ham", {"mask_weight": -1.0}, "greater than or equal to 0"),
    ("ham", {"sharpness": 0.0}, "greater than 0"),
    ("ham", {"normal_class": -1}, "greater than or equal to 0"),
    ("multitask_unet", {"segmentation_weight": 1.1}, "less than or equal to 1"),
    ("multitask_unet", {"depth": 1}, "greater than or equal to 2"),
    ("multitask_unet", {"width": 0}, "greater than or equal to 1"),
    ("multitask_unet", {"hidden": 0}, "greater than or equal to 1"),
    ("multitask_unet", {"dropout": 1.0}, "less than 1"),
    ("ag_sononet", {"feature_scale": 65}, "less than or equal to 64"),
    ("vit", {"arch": "small", "patch": 0}, "greater than or equal to 1"),
    ("background_mix", {"share": 1.1}, "less than or equal to 1"),
    ("background_mix", {"share": -0.1}, "greater than or equal to 0"),
    ("background_mix", {"feather": 0.3}, "less than or equal to 0.25"),
    ("masked_mix", {"removed": 1.2}, "less than or equal to 1"),
    ("masked_mix", {"fill": "image"}, "'black', 'noise' or 'blur'"),
    ("masked_mix", {"consistency_weight": -1.0}, "greater than or equal to 0"),
    ("masked_mix", {"feather": 0.5}, "less than or equal to 0.25"),
    ("distillation", {"feature_weight": -1.0}, "greater than or equal to 0"),
    ("distillation", {"temperature": 0.0}, "greater than 0"),
    ("distillation", {"predicted_probability": 1.5}, "less than or equal to 1"),
    ("standard", {"x": 1}, "x"),
]


def _entry(name: str) -> Entry:
    return next(entry for entry in ENTRIES if entry.name == name)


@pytest.mark.parametrize(("name", "given", "words"), REFUSED)
def test_refused(name: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        _entry(name).settings_class().model_validate(given)


@pytest.mark.parametrize("entry", ENTRIES, ids=registry.names())
def test_the_registry_and_the_method_name_the_same_record(entry: Entry) -> None:
    kind = entry.settings_class()
    assert entry.load().Settings is kind
    assert kind.model_validate(json.loads(kind().model_dump_json())) == kind()
    described = (kind.__doc__ or "").split() + [
        word for base in kind.__mro__ for word in (base.__doc__ or "").split()
    ]
    assert {f"{name}:" for name in kind.model_fields} <= set(described)


def test_one_word_brings_the_papers_constants() -> None:
    paper = settings.ISNetSettings.model_validate({"preset": "paper", "saturation": 2.0})
    assert (paper.pooling_decay, paper.variant, paper.relevance_range) == (
        0.9, "selective", "estimate",
    )  # fmt: skip
    assert (paper.heatmap_weight, paper.layers, paper.margin) == (0.7, "none", 0.0)
    assert paper.saturation == 2.0  # what is given counts
    assert settings.ISNetSettings().pooling_decay == "share"
    other = settings.GradInputSettings.model_validate({"preset": "paper"})
    assert other.pooling_decay == 0.9
    known = settings.ISNetSettings.model_fields
    assert set(settings.PAPER) <= set(known)
    machine = {"batch_norm_gradient", "every_steps", "batch_share", "memory_gb", "recompute_maps"}
    assert set(known) - set(settings.PAPER) == machine | {"preset", "pooling_share"}
    for kind in (settings.ISNetSettings, settings.GradInputSettings):
        again = kind.model_validate(json.loads(kind(preset="paper").model_dump_json()))
        assert again == kind(preset="paper")


def test_whole_numbers_and_lists_are_taken() -> None:
    found = settings.ISNetSettings.model_validate(
        {"relevance_range": [1, 2], "heatmap_weight": {0: 1}, "layers": ["layer1"]}
    )
    assert found.relevance_range == (1.0, 2.0)
    assert found.layers == ("layer1",)
    again = settings.ISNetSettings.model_validate(json.loads(found.model_dump_json()))
    assert again == found  # a card has text for the epochs
