"""Inputs of the killed commands: a few images of 64 px, settings for a second or two."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.masks.segmenter.factory import SMALL, write_pairs
from tests.support.trained import SETTINGS, write_inputs

BENCHMARK = """\
version: 1
name: tiny
base: c.yaml
set:
  train.epochs: 1
  evaluate.intervals: {draws: 1000, bootstrap: 200}
  heatmap.limit: 1
  masks.formats: [png]
seeds: [0]
methods:
  standard: {}
data:
  all: {}
cost: none
"""
EVERY = "png,npz,nifti,dicom-sc,dicom-seg"
SALT = "5a" * 32 + "\n"


def write_all(folder: Path, *, light: bool = False) -> None:
    """Images, masks, labels and every configuration, with relative paths.

    Args:
        folder: An empty folder, or a name for it.
        light: Leave out heat-map losses and forms of files, so that a run takes a second.
    """
    made = folder / "made"
    write_inputs(made)
    for name in ("xrays", "masks", "labels.csv"):
        (made / name).rename(folder / name)
    (made / "c.yaml").unlink()
    made.rmdir()
    (folder / "salt").write_text(SALT, encoding="utf-8")
    settings = {name: dict(v) if isinstance(v, dict) else v for name, v in SETTINGS.items()}
    settings["data"] |= {
        "images": "xrays", "labels": {"file": "labels.csv"}, "privacy": {"salt_file": "salt"},
    }  # fmt: skip
    settings["masks"] = {"files": "masks", "formats": ["png", "nifti", "dicom-seg"]}
    settings["heatmap"] = {"limit": 1, "formats": EVERY.split(",")}
    if light:
        settings["masks"] = {"files": "masks"}
        settings["heatmap"] = {"limit": 1, "formats": ["png"]}
        settings["train"] = {**settings["train"], "method": "standard", "epochs": 1}
    (folder / "c.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "b.yaml").write_text(BENCHMARK, encoding="utf-8")
    pairs = folder / "pairs"
    write_pairs(pairs)
    segmenter = {
        "version": 1, "seed": 3,
        "data": {"table": "pairs/labels.csv", "held_out": 0.3, "validation": 0.3},
        "model": {**SMALL, "decoder_channels": list(SMALL["decoder_channels"])},
        "train": {"epochs": 2, "batch_size": 3, "coarse": {"size": 64, "share": 1.0}},
        "machine": {"device": "cpu"},
    }  # fmt: skip
    (folder / "lung.yaml").write_text(yaml.safe_dump(segmenter), encoding="utf-8")
