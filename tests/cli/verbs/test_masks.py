"""`isnet masks train`: two words, its result, and its place beside `isnet masks`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.factory import isnet
from tests.masks.segmenter.factory import write_pairs

CONFIG = """\
data: {table: data/labels.csv, held_out: 0.3, validation: 0.3}
model: {encoder: tu-mobilenetv3_small_050, decoder_channels: [8, 8, 8, 8, 8]}
train: {epochs: 2, batch_size: 3, coarse: {size: 64, share: 1.0}}
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with masks, read only."""
    return write_pairs(tmp_path_factory.mktemp("pairs")).parent


@pytest.fixture
def config(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(pairs, tmp_path / "data")
    (tmp_path / "own.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "own.yaml"


def test_the_trained_network_makes_masks(config: Path, tmp_path: Path) -> None:
    done = isnet("masks", "train", config, "--epochs", 1, "-d", "cpu", "-o", "net")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "net/lung-unet.safetensors"
    assert any("north" in line and "Dice" in line for line in lines)
    again = isnet("masks", "train", config, "--epochs", 1, "-d", "cpu", "-o", "net", "--json")
    assert again.document["status"] == "current"
    assert again.document["weights"] == "net/lung-unet.safetensors"
    shutil.copytree(tmp_path / "data" / "images", tmp_path / "train")  # the name of the second word
    made = isnet(
        "masks", "./train", "-o", "masks", "--set", "masks.model=net/lung-unet.safetensors", "-d",
        "cpu", "-j", 0,
    )  # fmt: skip
    assert made.code in (0, 7), made.err
    assert (tmp_path / "masks" / "masks" / "qc.csv").is_file()


def test_stopping_says_how_to_go_on(config: Path) -> None:
    done = isnet("masks", "train", config, "-d", "cpu", "-o", "net", "--stop-after", "0s")
    assert done.err.splitlines()[-1].endswith("-o net")
    assert "stopped in good order" in done.err
    done = isnet("masks", "train", config, "-d", "cpu", "-o", "net")
    assert done.code == 0, done.err


def test_faults_have_their_codes(config: Path) -> None:
    assert isnet("masks", "train").code == 2
    assert isnet("masks", "train", config, "--set", "train.epoch=3").code == 3
    assert isnet("masks", "train", config, "--set", "data.table=none.csv").code == 4
    assert isnet("masks", "train", config, "--set", "model={weights: nothing}").code == 5
    assert isnet("masks", "training").code == 4  # a folder, which does not exist


def test_skipped_images_are_told_by_the_exit_code(config: Path) -> None:
    (config.parent / "data/masks/image_7.png").unlink()
    done = isnet("masks", "train", config, "-d", "cpu", "--set", "train.epochs=1")
    assert done.code == 7, done.err
    assert (Path("runs") / "lung-unet" / "skipped.csv").is_file()
