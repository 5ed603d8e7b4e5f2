"""Small trained runs, each made once per test session and shared by all its processes.

The runs are read only: a test that writes works on `TrainedRun.copy`. The end of the session fails
where a shared run was changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from PIL import Image

from isnet_cli.config.load import dump, load
from isnet_cli.config.schema import Config
from isnet_cli.core.pipeline import open_run, run_pipeline
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from tests.support.runs import image, lungs

SIDE = 64  # of the image files: the least that ingest takes
COUNT = 24  # half of them sick: 12 for training, 6 for validation, 6 for testing
TRAINED = ("ingest", "masks", "train")
FINISHED = (*TRAINED, "evaluate", "heatmap")
DONE = ".built"
SETTINGS: dict[str, Any] = {
    "name": "small",
    "data": {
        "images": "xrays",
        "labels": {"file": "labels.csv"},
        "sets": {"train": {"fraction": 0.5}, "val": {"fraction": 0.25}, "test": {"fraction": 0.25}},
    },
    "masks": {"files": "masks"},
    "model": {"arch": "small", "input": 32},
    "train": {
        "epochs": 2, "batch_size": 4, "optimizer": {"name": "adamw", "lr": 1e-3},
        "settings": {"isnet": {"range_epochs": 1}},
    },
    "evaluate": {"intervals": {"draws": 1000, "bootstrap": 200}},
    "heatmap": {"limit": 2},
    "machine": {"device": "cpu", "workers": 0},
}  # fmt: skip


@dataclass(frozen=True)
class TrainedRun:
    """A run with finished ingest, masks and train, and the inputs it was made from.

    Attributes:
        inputs: Folder of ``xrays``, ``masks``, ``labels.csv`` and ``c.yaml``, all paths absolute.
        path: The run folder.
        config: The configuration.
    """

    inputs: Path
    path: Path
    config: Config

    @property
    def folder(self) -> RunFolder:
        """The run, with its upstream if it has one."""
        return open_run(self.path, self.config)

    @property
    def yaml(self) -> Path:
        """The configuration's file."""
        return self.inputs / "c.yaml"

    def copy(self, place: Path) -> TrainedRun:
        """The same run at `place` (which must not exist), free to be changed; inputs stay."""
        shutil.copytree(self.path, place)
        return replace(self, path=place)


def write_inputs(folder: Path, *, multilabel: bool = False, **sections: dict[str, Any]) -> Path:
    """Images, masks, labels and ``c.yaml`` in `folder`; `sections` are merged into the settings."""
    for name in ("xrays", "masks"):
        (folder / name).mkdir(parents=True)
    head = "file,patient,source," + ("sick,odd" if multilabel else "label")
    lines = [head]
    for number in range(COUNT):
        sick, name = number % 2 == 1, f"x{number:02}.png"
        pixels = (image(number, sick, SIDE) * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(folder / "xrays" / name)
        Image.fromarray(lungs(SIDE).astype(np.uint8) * 255).save(folder / "masks" / name)
        label = f"{int(sick)},{number // 2 % 2}" if multilabel else ("sick" if sick else "well")
        lines.append(f"{name},p{number},here,{label}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return write_config(folder, folder, multilabel=multilabel, **sections)


def write_config(
    folder: Path, inputs: Path, *, multilabel: bool = False, **sections: dict[str, Any]
) -> Path:
    """A ``c.yaml`` in `folder` for the files in `inputs`."""
    settings = {name: dict(v) if isinstance(v, dict) else v for name, v in SETTINGS.items()}
    labels: dict[str, Any] = {"file": str(inputs / "labels.csv")}
    if multilabel:
        labels |= {"task": "multilabel", "columns": ["sick", "odd"]}
    settings["data"] |= {"images": str(inputs / "xrays"), "labels": labels}
    settings["masks"] = {"files": str(inputs / "masks")}
    for name, section in sections.items():
        merged = isinstance(section, dict)
        settings[name] = {**settings.get(name, {}), **section} if merged else section
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def shared_folder(
    factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]
) -> Path:
    """A folder that `build` fills once per session, whatever the number of processes.

    Args:
        factory: Pytest's.
        name: Of the folder; the same name is the same content.
        build: Called with the empty folder, in one process alone.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder of its own inside
        base = base.parent
    place = base / "shared" / name
    place.parent.mkdir(exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        if not (place / DONE).is_file():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            build(place)
            (place / DONE).touch()
    return place


def tree_digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, but for locks."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def _share(
    factory: pytest.TempPathFactory,
    name: str,
    stages: tuple[str, ...] = TRAINED,
    *,
    images_of: TrainedRun | None = None,
    run_of: TrainedRun | None = None,
    multilabel: bool = False,
    **sections: Any,
) -> Iterator[TrainedRun]:
    """The shared run `name`; fails at the end when a test has changed it.

    Args:
        factory: Pytest's.
        name: Of the shared folder.
        stages: What is done.
        images_of: Run whose images and masks are used (`upstream`).
        run_of: Run that is copied and gone on with.
        multilabel: Two labels per image instead of one of two classes.
        **sections: Settings.
    """

    def build(place: Path) -> None:
        if run_of is not None:
            shutil.copytree(run_of.path, place / "run")
            write_config(place, run_of.inputs, **sections)
        elif images_of is not None:
            write_config(place, images_of.inputs, upstream=str(images_of.path), **sections)
        else:
            write_inputs(place, multilabel=multilabel, **sections)
        config = load(place / "c.yaml")
        folder = open_run(place / "run", config)
        folder.path.mkdir(exist_ok=True)
        folder.save_config(dump(config))
        outcomes = run_pipeline(config, folder, RunContext(), stages)
        assert all(outcome.status in ("done", "current") for outcome in outcomes)

    place = shared_folder(factory, name, build)
    made = TrainedRun(place, place / "run", load(place / "c.yaml"))
    before = tree_digest(place)
    yield made
    assert tree_digest(place) == before, f"a test changed the shared run '{name}': use copy()"


@pytest.fixture(scope="session")
def isnet_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedRun]:
    """Classes `sick` and `well`, trained by the default method."""
    yield from _share(tmp_path_factory, "isnet")


@pytest.fixture(scope="session")
def standard_run(
    tmp_path_factory: pytest.TempPathFactory, isnet_run: TrainedRun
) -> Iterator[TrainedRun]:
    """Trained without map loss on the images and masks of `isnet_run`."""
    train = {**SETTINGS["train"], "method": "standard"}
    yield from _share(tmp_path_factory, "standard", images_of=isnet_run, train=train)


@pytest.fixture(scope="session")
def shapes_run(
    tmp_path_factory: pytest.TempPathFactory, isnet_run: TrainedRun
) -> Iterator[TrainedRun]:
    """Trained without map loss on images with synthetic marks; three versions of the test set."""
    train = {**SETTINGS["train"], "method": "standard"}
    yield from _share(
        tmp_path_factory, "shapes", images_of=isnet_run, train=train, bias={"kind": "shapes"}
    )


@pytest.fixture(scope="session")
def multilabel_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedRun]:
    """Labels `sick` and `odd`, none of which excludes the other; trained without map loss."""
    train = {**SETTINGS["train"], "method": "standard"}
    yield from _share(tmp_path_factory, "multilabel", multilabel=True, train=train)


@pytest.fixture(scope="session")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory, isnet_run: TrainedRun
) -> Iterator[TrainedRun]:
    """`isnet_run`, evaluated, with heat maps."""
    yield from _share(tmp_path_factory, "finished", FINISHED, run_of=isnet_run)


@pytest.fixture(scope="session")
def finished_standard_run(
    tmp_path_factory: pytest.TempPathFactory, standard_run: TrainedRun, isnet_run: TrainedRun
) -> Iterator[TrainedRun]:
    """`standard_run`, evaluated, with heat maps; for comparisons with `finished_run`."""
    train = {**SETTINGS["train"], "method": "standard"}
    yield from _share(
        tmp_path_factory, "finished-standard", FINISHED, run_of=standard_run, train=train,
        upstream=str(isnet_run.path),
    )  # fmt: skip
