"""Training images of a small run, loaded."""

from __future__ import annotations

from pathlib import Path

from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.image_dataset import ImageDataset, load_dataset
from isnet_cli.dataset.training_images import choose_images, read_verdicts
from isnet_cli.images.manifest import read_manifest
from tests.support.runs import make_run, small_config


def make_dataset(tmp_path: Path, **sections: dict) -> tuple[ImageDataset, Config]:
    """Nine images, four of them sick, and their configuration."""
    folder = make_run(tmp_path / "run", sets={"train": 9, "val": 4})
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    config = small_config(**sections)
    qc = read_verdicts(folder)
    train, _, _ = choose_images(rows, qc, config, needs_masks=True)
    return load_dataset(train, folder, qc, ["normal", "sick"], config, RunContext()), config
