"""The training's own configuration file: strict, with paths made absolute and faults placed."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.config.load import dump
from isnet_cli.config.segmenter import (
    DECODER,
    ENCODER,
    UNet,
    load_segmenter,
    starts_from_file,
)
from isnet_cli.errors import IsnetError
from isnet_models.lung_unet import DECODER_CHANNELS
from isnet_models.lung_unet import ENCODER as SHIPPED
from tests.house.rules import ROOT


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_default_network_is_the_shipped_one() -> None:
    assert (ENCODER, DECODER) == (SHIPPED, DECODER_CHANNELS)
    assert UNet().decoder_channels == DECODER


def test_the_sample_loads_and_paths_start_at_the_file() -> None:
    config = load_segmenter(ROOT / "sample_configs" / "lung_unet.yaml")
    assert config.data.table == str(ROOT / "data/tb/labels.csv")
    assert not starts_from_file(config)


def test_the_sample_goes_on_from_the_shipped_network_where_asked() -> None:
    path = ROOT / "sample_configs" / "lung_unet.yaml"
    assert load_segmenter(path, ["model.weights=lung-unet"]).model.weights == "lung-unet"


def test_paths_of_a_self_training_start_at_the_file(tmp_path: Path) -> None:
    text = "data: {table: t, unlabelled: {a: f, b: [g, h]}, teacher: TEACHER}\n"
    own = write(tmp_path / "a.yaml", text.replace("TEACHER", "t.safetensors"))
    data = load_segmenter(own).data
    assert data.unlabelled == {"a": str(tmp_path / "f"), "b": [str(tmp_path / n) for n in "gh"]}
    assert data.teacher == str(tmp_path / "t.safetensors")
    shipped = write(tmp_path / "b.yaml", text.replace("TEACHER", "lung-unet"))
    assert load_segmenter(shipped).data.teacher == "lung-unet"


def test_a_dumped_configuration_loads_to_the_same(tmp_path: Path) -> None:
    text = "data: {images: f, masks: m.json}\nmodel: {weights: own.safetensors}\n"
    config = load_segmenter(write(tmp_path / "a.yaml", text), ["train.epochs=3"])
    assert config.train.epochs == 3
    assert config.model.weights == str(tmp_path / "own.safetensors")
    assert starts_from_file(config)
    tree = write(tmp_path / "b.yaml", dump(config))
    # the start decides the architecture, which is therefore not written by hand beside it
    kept = "".join(
        line
        for line in tree.read_text().splitlines(keepends=True)
        if "encoder" not in line and "decoder_channels" not in line
    )
    assert load_segmenter(write(tmp_path / "c.yaml", kept)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {}", "expected either table, or images with masks"),
        ("data: {table: t, images: f, masks: m}", "expected either table, or images with masks"),
        ("data: {images: f}", "images and masks stand together"),
        ("data: {table: t, unlabelled: {a: f}}", "unlabelled and teacher stand together"),
        ("data: {table: t, teacher: lung-unet}", "unlabelled and teacher stand together"),
        ("data: {table: t}\ntrain: {unlabelled_share: 0.9}", "no image with a given mask"),
        ("data: {table: t, held_out: 0.6, validation: 0.5}", "leaves no image for training"),
        ("data: {table: t}\ntrain: {epoch: 3}", "did you mean 'epochs'"),
        ("data: {table: t}\ntrain: {batch_size: 1}", "a.yaml:2: train.batch_size"),
        ("data: {table: t}\ntrain: {coarse: {size: 100}}", "train.coarse.size"),
        ("data: {table: t}\nmodel: {weights: lung-unet, encoder: resnet18}", "leave encoder out"),
    ],
)
def test_faults_are_told_with_their_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(IsnetError) as caught:
        load_segmenter(write(tmp_path / "a.yaml", text + "\n"))
    assert caught.value.kind == "config"
    assert message in caught.value.render()
    assert "isnet masks train" in caught.value.fix
