"""Trackers behind one interface: each keeps its files in the run's folder and uses no network."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isnet_cli.core.files import write_json
from isnet_cli.guard.opening import read_text

Figures = Mapping[str, float]
PROJECT = "isnet"


class Tracker(ABC):
    """Takes the figures of one run. Every method may raise whatever its library raises.

    Args:
        place: Folder of its files; created when missing.
        name: Of the run.
        facts: Settings and hashes, flat: dotted name -> text or number.
    """

    package: str  # that has to be installed
    extra: str  # that brings it

    @abstractmethod
    def __init__(self, place: Path, name: str, facts: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def log(self, figures: Figures, epoch: int) -> None:
        """The figures of an epoch, as in ``history.csv``."""

    @abstractmethod
    def picture(self, name: str, path: Path, epoch: int | None) -> None:
        """A PNG file; `epoch` is None for one of the finished training."""

    @abstractmethod
    def close(self) -> None:
        """Writes what is waiting; no process or thread of it is left."""


class TensorBoard(Tracker):
    """Event files: ``tensorboard --logdir RUN/track/tensorboard``."""

    package, extra = "tensorboard", "tensorboard"

    def __init__(self, place: Path, name: str, facts: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(place))
        table = "\n".join(f"    {key}: {value}" for key, value in facts.items())
        self._writer.add_text("settings", table, 0)

    def log(self, figures: Figures, epoch: int) -> None:
        """Scalars by epoch."""
        for key, value in figures.items():
            self._writer.add_scalar(key.replace("val_", "val/", 1), value, epoch)

    def picture(self, name: str, path: Path, epoch: int | None) -> None:
        """An image of the epoch, or of step 0."""
        import numpy as np
        from PIL import Image

        from isnet_cli.guard.opening import open_regular

        with open_regular(path) as file, Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._writer.add_image(name, pixels, epoch or 0, dataformats="HWC")

    def close(self) -> None:
        """Ends the thread that writes."""
        self._writer.close()


class MLflow(Tracker):
    """A SQLite file: ``mlflow ui --backend-store-uri sqlite:///RUN/track/mlflow/mlflow.db``."""

    package, extra = "mlflow", "mlflow"

    def __init__(self, place: Path, name: str, facts: Mapping[str, Any]) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
        from mlflow.tracking import MlflowClient

        base = place.absolute()
        self._client = MlflowClient(tracking_uri=f"sqlite:///{base / 'mlflow.db'}")
        mark = place / "run.json"
        if mark.is_file():
            self._run = str(json.loads(read_text(mark))["run"])
            self._client.set_terminated(self._run, "RUNNING")
        else:
            found = self._client.get_experiment_by_name(PROJECT)
            experiment = found.experiment_id if found else self._client.create_experiment(
                PROJECT, artifact_location=(base / "artifacts").as_uri()
            )  # fmt: skip
            self._run = self._client.create_run(experiment, run_name=name).info.run_id
            for key, value in facts.items():
                self._client.log_param(self._run, key, str(value)[:500])
            write_json(mark, {"run": self._run})

    def log(self, figures: Figures, epoch: int) -> None:
        """Metrics by epoch."""
        for key, value in figures.items():
            self._client.log_metric(self._run, key, value, step=epoch)

    def picture(self, name: str, path: Path, epoch: int | None) -> None:
        """An artifact."""
        self._client.log_artifact(self._run, str(path), name)

    def close(self) -> None:
        """Marks the run as finished."""
        self._client.set_terminated(self._run)


class WandB(Tracker):
    """An offline run: ``wandb sync RUN/track/wandb/offline-run-*`` sends it, when you want it."""

    package, extra = "wandb", "wandb"

    def __init__(self, place: Path, name: str, facts: Mapping[str, Any]) -> None:
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        place.mkdir(parents=True, exist_ok=True)
        self._library = wandb
        self._run = wandb.init(
            project=PROJECT, name=name, dir=str(place), mode="offline", config=dict(facts),
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, disable_code=True,
                disable_job_creation=True, x_disable_stats=True, x_disable_meta=True,
                x_disable_machine_info=True,
            ),
        )  # fmt: skip

    def log(self, figures: Figures, epoch: int) -> None:
        """A row of the history."""
        self._run.log(dict(figures), step=epoch)

    def picture(self, name: str, path: Path, epoch: int | None) -> None:
        """An image."""
        self._run.log({name: self._library.Image(str(path))}, step=epoch)

    def close(self) -> None:
        """Ends its service process."""
        self._run.finish()


TRACKERS: Mapping[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
