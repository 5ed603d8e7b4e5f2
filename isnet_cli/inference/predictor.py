"""A trained model at work: images in batches, probabilities, relevance maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isnet_cli.config.schema import Config
from isnet_cli.core import files
from isnet_cli.core.records.cards import CARD
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.runtime import choose_device, make_deterministic
from isnet_cli.dataset.image_dataset import ImageDataset, Version, load_dataset
from isnet_cli.dataset.training_images import read_verdicts
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.images.types import Row
from isnet_cli.inference.model_files import WEIGHTS, TrainedModel, load_model
from isnet_cli.stats.scores import decide
from isnet_lrp import Compute, UnsupportedOperation, relevance
from isnet_lrp.targets import Target
from isnet_models.features import decision_features
from isnet_models.methods.guided.isnet import PIXELS


@dataclass(frozen=True)
class Seen:
    """What the model says about a batch.

    Attributes:
        logits: [B, K].
        probabilities: [B, K]: softmax, or the sigmoid of each label.
    """

    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class Predictor:
    """A trained model with the images and masks of a run.

    Attributes:
        model: Network and card.
        config: The run's configuration with what the card says of images, task and classes.
        device: Where the network is.
        folder: The run whose images are looked at.
        qc: Verdict on the mask of each key.
    """

    model: TrainedModel
    config: Config
    device: torch.device
    folder: RunFolder
    qc: dict[str, str]

    @property
    def classes(self) -> list[str]:
        """Names of the outputs."""
        return list(self.model.card["classes"])

    @property
    def task(self) -> str:
        """``multiclass`` or ``multilabel``."""
        return str(self.model.card["task"])

    @property
    def thresholds(self) -> list[float] | None:
        """Multi-label: probability from which each label counts as predicted; else None."""
        return self.model.card["thresholds"] if self.task == "multilabel" else None

    def describe(self) -> dict[str, Any]:
        """What metrics and maps say about their model."""
        names = ("arch", "method", "input", "epoch", "sha256", "heatmap")
        model = {name: self.model.card.get(name) for name in names}
        if "segmenter" in self.model.card:
            model["segmenter"] = self.model.card["segmenter"].get("used")
        return {"classes": self.classes, "task": self.task, "model": model}

    def load(self, rows: Sequence[Row]) -> ImageDataset:
        """Images and masks of `rows` at the network's size.

        Raises:
            IsnetError: Kind "data", when an image or a mask is missing or damaged.
        """
        folder = self.folder
        try:
            return load_dataset(rows, folder, self.qc, self.classes, self.config, RunContext())
        except UnreadableImage as error:
            masks = folder.stage_dir("masks")
            raise IsnetError(
                "data", f"{masks}: {error.detail}", fix="isnet masks CONFIG"
            ) from error

    def trusted(self, row: Row) -> bool:
        """Whether relevance is measured against the image's mask: ok, or suspect but kept."""
        verdict = self.qc.get(row.key, "missing")
        return verdict == "ok" or (verdict == "suspect" and self.config.masks.on_suspect == "keep")

    def batch(
        self, dataset: ImageDataset, indices: Sequence[int], version: Version
    ) -> tuple[Tensor, NDArray[np.bool_]]:
        """Images [B, C, h, w] in [0, 1] and trusted masks [B, h, w] (empty where there is none)."""
        images, lungs = self.batch_on_device(dataset, indices, version, torch.device("cpu"))
        return images, lungs.numpy()

    def batch_on_device(
        self,
        dataset: ImageDataset,
        indices: Sequence[int],
        version: Version,
        device: torch.device | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `batch`, as tensors on `device` (None: the network's), for which nothing waits."""
        images, masks = dataset.batch(indices, version=version, device=device or self.device)
        trusted = torch.tensor([self.trusted(dataset.rows[i]) for i in indices])
        return images, (masks[:, 0] > 0) & trusted.to(masks.device, non_blocking=True)[
            :, None, None
        ]

    def predict(self, images: Tensor) -> Seen:
        """Looks at `images` [B, C, h, w] in [0, 1].

        Raises:
            IsnetError: Kind "machine", when the device's memory does not suffice.
        """
        return self.seen(self.answer(images))

    def answer(self, images: Tensor) -> Tensor:
        """Logits [B, K] of `images` [B, C, h, w] in [0, 1], on the network's device.

        Raises:
            IsnetError: As `predict`.
        """
        with memory_guard(len(images)), torch.inference_mode():
            logits: Tensor = self.model.net(images.to(self.device, non_blocking=True))
            return logits

    def look(self, images: Tensor) -> tuple[Seen, NDArray[np.float64]]:
        """As `predict`, with the features [B, F] that the last layer decides from."""
        with memory_guard(len(images)), torch.inference_mode():
            logits, features = decision_features(self.model.net, images.to(self.device))
            return self.seen(logits), features.double().cpu().numpy()

    def explain(
        self, images: Tensor, target: Target | Tensor, rules: Mapping[str, Any] | None = None
    ) -> tuple[Seen, NDArray[np.float32]]:
        """As `predict`, with signed relevance maps [B, K', C, h, w].

        Args:
            images: [B, C, h, w] in [0, 1].
            target: As in `isnet_lrp.maps`.
            rules: Options of `relevance` in place of the model's own.

        Raises:
            IsnetError: As `predict`.
        """
        logits, maps = self.relate(images, target, rules, check=True)
        return self.seen(logits), maps.float().cpu().numpy()

    def relate(
        self,
        images: Tensor,
        target: Target | Tensor,
        rules: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and maps [B, K', C, h, w] as `explain`, on the network's device.

        Args:
            images: As in `explain`, and so are `target` and `rules`.
            target: See there.
            rules: See there.
            check: Look at the pixels, for which the host waits for the device.

        Raises:
            IsnetError: As `predict`.
        """
        options = {**self._rules(), **(rules or {})}
        with memory_guard(len(images)):
            there = images.to(self.device, non_blocking=True)
            found = relevance(
                self.model.net, there, target, compute=Compute(check=check), **options
            )
            return found.logits, found.maps

    def seen(self, logits: Tensor) -> Seen:
        """Logits [B, K] of a forward pass, with their probabilities."""
        y = logits.double().cpu()
        p = y.sigmoid() if self.task == "multilabel" else y.softmax(1)
        return Seen(y.numpy(), p.numpy())

    def no_rule(self, rules: Mapping[str, Any] | None = None) -> str:
        """Why this network has no relevance maps by `rules` (see `explain`); "" when it has."""
        blank = torch.zeros(1, self.config.model.channels, *self.config.model.input)
        options = {**self._rules(), **(rules or {})}
        try:
            relevance(self.model.net, blank.to(self.device), "predicted", **options)
        except UnsupportedOperation as error:
            return str(error)
        return ""

    def decisions(self, probabilities: NDArray[np.float64]) -> list[list[str]]:
        """Names of the predicted classes of each image; multi-class: exactly one."""
        if self.task == "multilabel":
            chosen = decide(probabilities, self.thresholds, len(self.classes))
            return [[c for c, yes in zip(self.classes, row, strict=True) if yes] for row in chosen]
        return [[self.classes[k]] for k in probabilities.argmax(axis=1)]

    def _rules(self) -> dict[str, Any]:
        rules = self.model.card["heatmap"]
        zb = PIXELS if rules["bounded_first_layer"] else None
        return {"family": rules["family"], "epsilon": rules["epsilon"], "zb": zb}


def open_predictor(config: Config, chosen: str | None, folder: RunFolder) -> Predictor:
    """Loads the trained model and what is known of the run's masks.

    Args:
        config: The configuration; size, channels, task and classes are taken from the model.
        chosen: Run folder of another run's model; None: this run's.
        folder: The run whose images are looked at.

    Raises:
        IsnetError: Kind "weights", "machine" or "data", when a part is missing.
    """
    make_deterministic(config.machine.deterministic)
    device = choose_device(config.machine.device)
    model = load_model(model_folder(chosen, folder), device)
    folder.require("masks")
    return Predictor(model, as_trained(config, model.card), device, folder, read_verdicts(folder))


def model_folder(chosen: str | None, folder: RunFolder | None) -> Path:
    """Folder that holds the trained model: of this run, or of the run at `chosen`.

    Args:
        chosen: A run folder or its ``train`` folder; None for this run.
        folder: This run; not looked at when another is chosen.

    Raises:
        IsnetError: Kind "weights", when there is no model; "data", when this run's training is not
            finished.
    """
    if chosen is None:
        if folder is None:
            raise TypeError("model_folder: neither a chosen run nor this one")
        folder.require("train")
        return folder.stage_dir("train")
    path = Path(chosen)
    for place in (path / "train", path):
        if (place / WEIGHTS).is_file() and (place / CARD).is_file():
            return place
    raise IsnetError(
        "weights",
        f"{path}: no trained model, expected a run folder with train/{WEIGHTS}",
        fix="--model RUN names a folder in which isnet train or isnet run has finished",
    )


def dependencies(config: Config, chosen: str | None, folder: RunFolder) -> list[Any]:
    """What the work of a trained model depends on, besides the settings of the stage itself.

    Args:
        config: The configuration.
        chosen: As in `model_folder`.
        folder: The run whose images are looked at.

    Returns:
        Parts of a fingerprint: `shared_settings`, hashes of what ingest and masks hand on, SHA-256
        of weights and card.

    Raises:
        IsnetError: As `model_folder`; kind "data", when ingest or masks are not finished.
    """
    upstream = [folder.require(stage)["outputs"] for stage in ("ingest", "masks")]
    place = model_folder(chosen, folder)
    model = [files.sha256_file(place / name) for name in (WEIGHTS, CARD)]
    return [*shared_settings(config), upstream, model]


def shared_settings(config: Config) -> list[Any]:
    """What all work of a trained model depends on: use of suspect masks, synthetic bias."""
    bias = None if config.bias.kind == "none" else [config.bias.model_dump(), config.seed]
    return [config.masks.on_suspect, bias]


def as_trained(config: Config, card: dict[str, Any]) -> Config:
    """`config` with the architecture, images' form, task and classes of the model's card."""
    model = {
        "arch": card["arch"],
        "input": tuple(card["input"]),
        "channels": card["channels"],
        "standardise": card.get("standardise", "none"),
    }
    labels = {"classes": list(card["classes"]), "task": card["task"]}
    data = config.data.model_copy(update={"labels": config.data.labels.model_copy(update=labels)})
    return config.model_copy(update={"model": config.model.model_copy(update=model), "data": data})


@contextlib.contextmanager
def memory_guard(images: int) -> Iterator[None]:
    """Says what to do when `images` images at a time are too many for the device's memory.

    Raises:
        IsnetError: Kind "machine", in place of torch's error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise IsnetError(
            "machine",
            f"memory of the device: too little for {images} images at a time",
            fix=f"--set evaluate.batch_size={max(1, images // 2)}, or --device cpu",
        ) from error
