"""Runs with a model that is initialised at random and saved, as if it had been trained."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from isnet_cli.core.files import write_csv
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.images.manifest import read_manifest, rows_to_dicts
from isnet_cli.images.types import ROW_FIELDS, Row
from isnet_cli.inference.model_files import save_model
from tests.support.runs import make_run
from tests.support.seeded import seeded_backbone

SIDE = 32


def save_random_model(
    train: Path, change: Callable[[torch.nn.Module], None] | None = None, **card: Any
) -> None:
    """A random network with its card in `train`; `card` overrides entries."""
    values: dict[str, Any] = {
        "classes": ["normal", "sick"], "task": "multiclass", "arch": "small",
        "input": [SIDE, SIDE], "channels": 1, "dropout": 0.0, "method": "isnet",
        "heatmap": {"family": "flex", "epsilon": 0.01, "bounded_first_layer": True},
        "thresholds": None, "seed": 0,
        "epoch": 1,
        **card,
    }  # fmt: skip
    net = seeded_backbone(
        values["arch"], len(values["classes"]), channels=values["channels"], dropout=0.0, seed=1
    )
    if change is not None:
        change(net)
    save_model(train, net, values)


def finish_train(folder: RunFolder) -> None:
    """Records the model in the run's `train` folder as a finished stage."""
    train = folder.stage_dir("train")
    folder.begin("train", "t")
    folder.finish("train", "t", [train / "model.safetensors", train / "model.json"], {})


def make_trained(
    path: Path,
    *,
    sets: dict[str, int] | None = None,
    multilabel: bool = False,
    verdicts: dict[str, str] | None = None,
    **card: Any,
) -> RunFolder:
    """A run with finished ingest, masks and train."""
    if multilabel:
        card = {
            "classes": ["sick", "old"], "task": "multilabel", "thresholds": [0.4, 0.6], **card
        }  # fmt: skip
    folder = make_run(path, sets=sets or {"test": 6}, multilabel=multilabel, verdicts=verdicts)
    save_random_model(folder.stage_dir("train"), **card)
    finish_train(folder)
    return folder


def edit_rows(folder: RunFolder, edit: Callable[[Row], dict[str, Any]]) -> None:
    """Changes fields of the manifest's lines and records the ingest stage anew."""
    path = folder.stage_dir("ingest") / "manifest.csv"
    rows = [dataclasses.replace(row, **edit(row)) for row in read_manifest(path)]
    write_csv(path, ROW_FIELDS, rows_to_dicts(rows))
    folder.finish("ingest", "i2", [path], {})


class StopAfter:
    """Asks for a stop once `images` images of the stage called are done."""

    def __init__(self, images: int) -> None:
        self.left = images

    def context(self) -> RunContext:
        """RunContext that ask for the stop."""
        return RunContext(progress=self, stop_requested=lambda: self.left <= 0)

    def track(self, items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        yield from items

    @contextlib.contextmanager
    def bar(self, description: str, total: int) -> Iterator[StopAfter]:
        yield self

    def advance(self, steps: int = 1, **figures: float | str) -> None:
        self.left -= steps
