"""Training films of a small run, loaded."""

from __future__ import annotations

from pathlib import Path

from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import Ports
from isnet_cli.dataset.image_dataset import FilmStore
from isnet_cli.dataset.training_images import choose_films, load_films, verdicts
from isnet_cli.images.manifest import read_manifest
from tests.support.runs import make_run, small_config


def films(tmp_path: Path, **sections: dict) -> tuple[FilmStore, Config]:
    """Nine films, four of them sick, and their configuration."""
    folder = make_run(tmp_path / "run", sets={"train": 9, "val": 4})
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    config = small_config(**sections)
    qc = verdicts(folder)
    train, _, _ = choose_films(rows, qc, config, needs_masks=True)
    return load_films(train, folder, qc, ["normal", "sick"], config, Ports()), config
