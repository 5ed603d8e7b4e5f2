"""Training of the classifier: its batches, its loss, its learning rate, what an epoch reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isnet_cli.config.schema import Config, Optimizer, Schedule
from isnet_cli.core.parallel.processes import ALONE, Processes
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.runtime import derive_seed, make_generator
from isnet_cli.core.training_loop import CHECKPOINT, LoopSettings, StepLosses, TrainingLoop
from isnet_cli.dataset.feed import Feed, draw_parts
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.errors import IsnetError
from isnet_cli.train.sample_maps import SampleMaps
from isnet_cli.train.sharing import Sharing
from isnet_cli.train.validation import Validator
from isnet_cli.train.weight_mean import WeightMean
from isnet_models.methods.base import Batch, Method

# figure that chooses the epoch, and 1 where more of it is better; None: the last epoch
SELECT = {
    "last": None,
    "loss": ("val_loss", -1),
    "auc": ("val_auc", 1),
    "swapped": ("val_swapped_auc", 1),
}


ALL = Sharing()  # of one process, which has all of each batch
STATISTICS_IMAGES = 1024  # from which BatchNorm's statistics of mean weights are taken, at most


class ClassifierTraining(TrainingLoop[Batch]):
    """Trains a classifier by a method; see `TrainingLoop`.

    Args:
        config: The configuration.
        net: The network on its device.
        method: The training method.
        dataset: Training images, all with labels.
        validator: Scores after each epoch.
        version: Synthetic bias of the training images.
        directory: Where the checkpoint is kept.
        identity: Hash of what the training depends on; a checkpoint of another is not continued.
        on_best: Called with the network and the epoch's figures when it is the best so far.
        first: Epochs of the network's trainings before this one, which go on in its chance.
        total: Epochs of all of them; 0: there is no other.
        processes: Those that share each batch.
        samples: Draws maps between the epochs.
    """

    def __init__(
        self,
        config: Config,
        net: nn.Module,
        method: Method,
        dataset: ImageDataset,
        validator: Validator,
        version: Version,
        directory: Path,
        identity: str,
        on_best: Callable[[nn.Module, dict[str, float]], None],
        first: int = 0,
        total: int = 0,
        processes: Processes = ALONE,
        samples: SampleMaps | None = None,
    ) -> None:
        settings = LoopSettings(
            epochs=config.train.epochs,
            first=first,
            total=total or config.train.epochs,
            accumulate=config.train.accumulate,
            title=f"training, {config.train.method}" if total > config.train.epochs else "training",
            steps=len(split_into_batches(config, dataset, 0)),
            images=len(dataset),
            clip_norm=config.train.clip_norm or math.inf,
            select=SELECT[config.train.select],
            patience=config.train.early_stop.patience,
            shown=("classification", "heatmap", "val_auc"),
            advice="lower train.optimizer.lr, or set train.clip_norm: 1.0",
        )
        optimizer = build_optimizer(config.train.optimizer, net)
        super().__init__(net, optimizer, settings, directory / CHECKPOINT, identity, processes)
        self.sharing = Sharing(processes)
        self.config, self.method, self.dataset = config, method, dataset
        self.validator, self.version, self.on_best = validator, version, on_best
        self.samples = samples
        self.mean = WeightMean(net, config.train.average_epochs, settings)

    def begin_epoch(self, epoch: int) -> None:
        """Seeds dropout, augmentation and the method, and orders the images."""
        seed, number = self.config.seed, self.settings.first + epoch
        torch.manual_seed(derive_seed(seed, "dropout", number))
        changes = make_generator(seed, "augment", number)
        self.method.begin_epoch(epoch, make_generator(seed, "target", number))
        self.batches = split_into_batches(self.config, self.dataset, number)
        self.feed = self._feed(self.batches, changes)

    def make_batch(self, epoch: int, step: int) -> Batch:
        """Augmented images with masks and labels."""
        self.whole = len(self.batches[step])
        return next(self.feed)

    def end_epoch(self) -> None:
        """Ends the threads that read ahead."""
        self.feed.close()

    def compute_loss(self, batch: Batch, epoch: int) -> StepLosses:
        """The method's loss."""
        with self.sharing.within(self.whole):
            losses = self.method.losses(self.net, batch, epoch)
        return StepLosses(losses.total, self.whole, losses.parts)

    def join_gradients(self) -> None:
        """Sums those of the processes."""
        self.sharing.sum_gradients(self.net.parameters())

    def learning_rate(self, epoch: int, step: int) -> float:
        """The scheduled rate."""
        train = self.config.train
        progress = epoch + step / self.settings.steps
        return scheduled_rate(train.optimizer.lr, train.schedule, progress, train.epochs)

    def after_step(self, epoch: int, step: int) -> None:
        """Takes the new weights into their mean."""
        self.mean.update()

    def validate(self, epoch: int) -> dict[str, float]:
        """Losses and ROC-AUC of the validation images, and the method's own figures.

        Where a mean of the weights is asked for, the network of the mean is validated.
        """
        self.mean.set_statistics(self._statistics_batches(epoch), self.method)
        found = self.validator(self.mean.net, self.method, epoch)
        name = (SELECT[self.config.train.select] or ("",))[0]
        if name and math.isnan(found[name]):
            raise IsnetError(
                "data",
                f"train.select: {name}, by which the best epoch is chosen, cannot be computed of"
                f" {len(self.validator.dataset)} validation images (one class alone, or images"
                " without masks)",
                fix="--set train.select=loss, or more images in data.sets.val",
            )
        return {**found, **self.method.figures(epoch)}

    def _statistics_batches(self, epoch: int) -> Generator[Batch]:
        """Training images of the epoch for BatchNorm's statistics, augmented anew."""
        number = self.settings.first + epoch
        changes = make_generator(self.config.seed, "statistics", number)
        few = self.batches[: math.ceil(STATISTICS_IMAGES / self.config.train.batch_size)]
        for indices, batch in zip(few, self._feed(few, changes), strict=True):
            with self.sharing.within(len(indices)):
                yield batch

    def _feed(self, batches: Iterable[NDArray[np.int64]], changes: torch.Generator) -> Feed:
        return feed_training(
            self.config, self.dataset, batches, self.version, changes, self.device, self.sharing
        )

    def after_epoch(self, context: RunContext) -> None:
        """Draws sample maps, where they are asked for."""
        epoch = int(self.progress.history[-1]["epoch"])
        if self.samples is not None:
            self.samples.draw(self.mean.net, epoch, context)

    def keep_best(self, row: dict[str, float]) -> None:
        """Hands the network on, or that of the mean."""
        self.on_best(self.mean.net, row)

    def extra_state(self) -> dict[str, Any]:
        """The mean of the weights."""
        return {"mean": self.mean.state()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Takes the mean back."""
        self.mean.load(state["mean"])


def feed_training(
    config: Config,
    dataset: ImageDataset,
    batches: Iterable[NDArray[np.int64]],
    version: Version,
    changes: torch.Generator,
    device: torch.device,
    sharing: Sharing = ALL,
) -> Feed:
    """Batches of images with masks and labels, augmented, on `device`, in order.

    Args:
        config: The configuration.
        dataset: All training images.
        batches: Indices of each batch.
        version: Synthetic bias of the images.
        changes: Source of the augmentation's chance (on the CPU).
        device: Of the network.
        sharing: Says what this process has of each batch.
    """
    parts = draw_parts(batches, config.model.input, config.train.augment, changes)
    return Feed(dataset, sharing.cut(parts), version, device)


def weigh_classes(config: Config, dataset: ImageDataset) -> Tensor | None:
    """Weights of the classification loss [K], or None for equal ones.

    Balanced: N/(K·n_k); multi-label: negatives/positives of each label.

    Raises:
        IsnetError: Kind "config", when the given weights are not one per class.
    """
    asked, K = config.train.class_weights, len(dataset.classes)
    if asked == "none":
        return None
    if isinstance(asked, list):
        if len(asked) != K:
            raise IsnetError(
                "config",
                f"train.class_weights: {len(asked)} weights, expected {K} "
                f"({', '.join(dataset.classes)})",
                fix="give one weight per class, or balanced",
            )
        return torch.tensor(asked, dtype=torch.float32)
    if dataset.labels.ndim == 1:
        counts = np.bincount(dataset.labels.astype(int), minlength=K)
        return torch.from_numpy((len(dataset) / (K * np.maximum(counts, 1))).astype(np.float32))
    positives = np.nansum(dataset.labels, axis=0)
    negatives = np.nansum(1 - dataset.labels, axis=0)
    return torch.from_numpy((negatives / np.maximum(positives, 1)).astype(np.float32))


def order_images(config: Config, dataset: ImageDataset, epoch: int) -> NDArray[np.int64]:
    """Indices of the images in the order of `epoch`; a pure function of seed and epoch.

    The balanced sampler draws as many images as there are, with equal chance per class.
    """
    rng = np.random.default_rng(derive_seed(config.seed, "order", epoch))
    N = len(dataset)
    if config.train.sampler == "shuffle" or dataset.labels.ndim != 1:
        return rng.permutation(N)
    labels = dataset.labels.astype(int)
    chance = 1 / np.bincount(labels)[labels]
    return rng.choice(N, N, p=chance / chance.sum())


def split_into_batches(
    config: Config, dataset: ImageDataset, epoch: int
) -> list[NDArray[np.int64]]:
    """The images of `epoch` in batches; a last image alone joins the batch before.

    BatchNorm cannot train on one image whose map has shrunk to one pixel.
    """
    order, size = order_images(config, dataset, epoch), config.train.batch_size
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    return [order[a:b] for a, b in zip(starts, [*starts[1:], len(order)], strict=True)]


def build_optimizer(settings: Optimizer, net: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over all parameters of `net`."""
    if settings.name == "adamw":
        return torch.optim.AdamW(
            net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        net.parameters(), lr=settings.lr, momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )  # fmt: skip


def scheduled_rate(base: float, schedule: Schedule, progress: float, epochs: int) -> float:
    """The rate at `progress` epochs (0 to `epochs`, in fractions), warm-up included."""
    if schedule.warmup_epochs and progress < schedule.warmup_epochs:
        return base * (progress + 0.01) / (schedule.warmup_epochs + 0.01)
    if schedule.name == "constant":
        return base
    if schedule.name == "step":
        return base * schedule.gamma ** sum(progress >= m for m in schedule.milestones)
    share = (progress - schedule.warmup_epochs) / max(epochs - schedule.warmup_epochs, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return base * (schedule.final + (1 - schedule.final) * cosine)
