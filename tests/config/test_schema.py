"""The keys of isnet.yaml, pinned: removing one takes a version with a warning."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from isnet_cli.config.load import plain
from isnet_cli.config.schema import Config

KEYS = """
bias.intensity bias.kind bias.shapes bias.size bias.train
data.collections data.columns.body_part data.columns.modality data.repeated
data.columns.mask data.columns.patient data.columns.set data.columns.source data.columns.view
data.dicom.photometric data.dicom.voi data.images
data.labels.classes data.labels.columns data.labels.delimiter data.labels.file data.labels.key
data.labels.min_match data.labels.task data.labels.uncertain
data.max_side data.privacy.rename data.privacy.salt_file data.scale data.sets
data.split.allow_overlap data.split.group data.split.ids data.split.stratify data.view
evaluate.adapt
evaluate.annotations evaluate.attack evaluate.batch_size evaluate.model evaluate.relevance
evaluate.background evaluate.segmenter evaluate.sets
heatmap.check heatmap.family heatmap.formats heatmap.identity heatmap.limit heatmap.method
heatmap.model predict.model heatmap.region heatmap.scale heatmap.sets heatmap.target
limits.cells limits.elements limits.file_mb limits.frames limits.megapixels limits.memory_mb
limits.seconds limits.table_mb
machine.deterministic machine.device machine.workers
masks.batch_size masks.files masks.flip masks.formats masks.identity masks.model
masks.on_suspect masks.postprocess.dilate_mm masks.postprocess.dilate_percent
masks.postprocess.dilate_px
evaluate.intervals.bootstrap evaluate.intervals.draws evaluate.intervals.method
evaluate.intervals.prior evaluate.intervals.shape evaluate.reference
masks.postprocess.fill_holes masks.postprocess.keep masks.threshold
model.arch model.channels model.dropout model.input model.normalisation
model.pretrained model.standardise
name seed
train.augment.brightness train.augment.contrast train.augment.flip train.augment.gamma
train.augment.rotate
train.augment.scale train.augment.spectrum train.augment.translate
train.accumulate train.average_epochs train.before
train.batch_size train.class_weights train.clip_norm train.early_stop.patience train.epochs
train.precision
train.settings.background_mix.brightness train.settings.background_mix.feather
train.settings.background_mix.fill train.settings.background_mix.partner
train.settings.background_mix.share train.settings.standard
train.settings.isnet.background_weight train.settings.isnet.batch_norm_gradient
train.settings.isnet.batch_share train.settings.isnet.bounded_first_layer
train.settings.isnet.epsilon train.settings.isnet.every_steps train.settings.isnet.foreground
train.settings.isnet.foreground_weight train.settings.isnet.heatmap_weight
train.settings.isnet.layer_decay train.settings.isnet.layers train.settings.isnet.loss
train.settings.isnet.margin train.settings.isnet.memory_gb train.settings.isnet.pooling_decay
train.settings.isnet.pooling_share train.settings.isnet.predicted_probability
train.settings.isnet.preset train.settings.isnet.range_epochs
train.settings.isnet.recompute_maps train.settings.isnet.relevance_range
train.settings.isnet.saturation train.settings.isnet.selective_offset train.settings.isnet.variant
train.settings.isnet.warmup_epochs
train.method train.optimizer.lr train.optimizer.momentum train.optimizer.name
train.optimizer.weight_decay train.sampler train.schedule.final train.schedule.gamma
train.schedule.milestones train.schedule.name train.schedule.warmup_epochs train.select
upstream version track track_maps
data.columns.age data.columns.groups data.columns.manufacturer data.columns.model data.columns.sex
data.privacy.facts evaluate.subgroup_least evaluate.subgroups
"""


def keys(tree: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for name, value in tree.items():
        inner = isinstance(value, dict) and value
        found |= keys(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}"}
    return found


def test_no_key_has_gone() -> None:
    assert set(KEYS.split()) - keys(plain(Config())) == set()


def test_new_keys_are_written_down_here_and_in_the_docs() -> None:
    assert keys(plain(Config())) - set(KEYS.split()) == set()


def test_the_tree_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Config().seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Config().train.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize("size", [96, [96, 96], (96, 96)])
def test_a_square_input_may_be_one_number(size: Any) -> None:
    assert Config.model_validate({"model": {"input": size}}).model.input == (96, 96)


@pytest.mark.parametrize(
    "tree",
    [
        {"epochs": "3"},
        {"epochs": 3.0},
        {"epochs": True},
        {"optimizer": {"lr": "0.1"}},
        {"optimizer": {"lr": True}},
        {"settings": {"isnet": {"bounded_first_layer": 1}}},
        {"settings": {"isnet": {"heatmap_weight": {5: 0.5}}}},
        {"settings": {"isnett": {}}},
        {"settings": {"gain": 3}},
        {"settings": None},
        {"nonsense": 1},
    ],
)
def test_types_are_strict(tree: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"train": tree})


def test_whole_numbers_are_numbers() -> None:
    config = Config.model_validate(
        {"train": {"optimizer": {"lr": 1}, "settings": {"isnet": {"relevance_range": [1, 2]}}}}
    )
    assert config.train.optimizer.lr == 1.0
    assert config.train.settings_of("isnet").relevance_range == (1.0, 2.0)


def test_the_settings_of_the_methods_in_use_are_written_out() -> None:
    used = Config.model_validate({"train": {"method": "gain+masked_mix"}}).train
    assert set(used.settings) == {"gain", "masked_mix"}
    assert used.settings_of("rrr").gradient_weight == 0.01  # not in use: the defaults
