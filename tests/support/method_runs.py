"""Runs of the methods with networks of their own, small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_json
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.train import stage as train
from isnet_models.lung_unet import LungUNet
from isnet_models.weights import save_weights
from tests.support.runs import make_run, small_config

SETTINGS: dict[str, dict[str, Any]] = {
    "segment_then_classify": {},
    "multitask_unet": {"width": 4, "depth": 3, "hidden": 16},
    "ag_sononet": {"feature_scale": 16},
    "vit": {"arch": "small", "patch": 8},
}
SETS = {"train": 9, "val": 4, "test": 2}


def own_segmenter(folder: Path) -> Path:
    """A small lung U-Net of random weights, as `isnet masks train` leaves one."""
    folder.mkdir(parents=True, exist_ok=True)
    path, channels = folder / "own.safetensors", (16, 8, 8, 4, 4)
    torch.manual_seed(5)
    digest = save_weights(LungUNet(decoder_channels=channels).state_dict(), path)
    card = {
        "name": "own", "version": "1", "task": "lungs", "file": path.name, "sha256": digest,
        "architecture": {
            "class": "LungUNet", "encoder": "tu-mobilenetv3_small_100",
            "decoder_channels": list(channels),
        },
        "licence": "own",
    }  # fmt: skip
    write_json(path.with_suffix(".json"), card)
    return path


def network_config(
    method: str, place: Path, settings: dict[str, Any] | None = None, **sections: Any
) -> Config:
    """One epoch of `method`; its segmenter, if it needs one, is written into `place`."""
    chosen = {**SETTINGS[method], **(settings or {})}
    masks = {}
    if method == "segment_then_classify":
        masks = {"masks": {"model": str(own_segmenter(place / "segmenter"))}}
    train_section = {"method": method, "epochs": 1, "settings": {method: chosen}}
    return small_config(**{"train": train_section, **masks, **sections})


def trained(method: str, place: Path, config: Config | None = None) -> RunFolder:
    """A run whose model is trained."""
    folder = make_run(place / "run", sets=SETS)
    config = config or network_config(method, place)
    assert run_stage(train, config, folder, RunContext()).status == "done"
    return folder
